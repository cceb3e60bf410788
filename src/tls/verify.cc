#include "tls/verify.h"

#include <algorithm>

#include "base/coding.h"
#include "base/go_text.h"
#include "tls/ossl.h"

namespace quoin::tls {
namespace {
// net.SplitHostPort's host.
Result<std::string> host_of(std::string_view address) {
  const auto fail = [&](std::string_view why) {
    return make_error(Code::kInvalidArgument, "address {}: {}", address, why);
  };
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return fail("missing port in address");
  std::string_view host = address.substr(0, colon);
  if (!host.starts_with('[')) {
    if (host.find(':') != std::string_view::npos) return fail("too many colons in address");
    return std::string(host);
  }
  if (!host.ends_with(']')) return fail("missing port in address");
  return std::string(host.substr(1, host.size() - 2));
}

// The addresses' names first, then the names' addresses, one look-up at a time.
class DnsCheck final : public SanCheck {
 public:
  DnsCheck(std::string host, std::vector<std::string> dns_names, NameLookup& lookup,
           absl::AnyInvocable<void(Result<>)> done)
      : host_(std::move(host)), dns_names_(std::move(dns_names)), lookup_(lookup), done_(std::move(done)) {
    for (const std::string& name : dns_names_) {
      if (name.starts_with("*.")) {
        suffixes_.push_back(name.substr(1));
      } else {
        plain_.push_back(name);
      }
    }
  }

  void start() {
    lookup_.lookup_address(
        host_, [this, alive = std::weak_ptr(alive_)](Result<std::vector<std::string>> names) {
          if (alive.expired()) return;
          if (!names) error_ = names.error();
          if (names && std::ranges::any_of(*names, [&](std::string_view name) { return named(name); }))
            return finish({});
          ask_next();
        });
  }

 private:
  bool named(std::string_view name) const {
    if (name.ends_with('.')) name.remove_suffix(1);
    return std::ranges::any_of(suffixes_, [&](const std::string& s) { return name.ends_with(s); }) ||
           std::ranges::find(plain_, name) != plain_.end();
  }

  void ask_next() {
    if (next_ == plain_.size()) {
      return finish(make_error(Code::kInvalidArgument, "tls: {} does not match any of DNSNames {}{}",
                               go_quote(host_), go_quote_list(dns_names_),
                               error_ ? fmt::format(" ({})", error_->text()) : std::string()));
    }
    lookup_.lookup_host(plain_[next_++],
                        [this, alive = std::weak_ptr(alive_)](Result<std::vector<std::string>> addresses) {
                          if (alive.expired()) return;
                          if (!addresses) error_ = addresses.error();
                          if (addresses && std::ranges::find(*addresses, host_) != addresses->end())
                            return finish({});
                          ask_next();
                        });
  }

  void finish(Result<> result) {
    // `done` may drop this object.
    auto done = std::move(done_);
    done(std::move(result));
  }

  const std::string host_;
  const std::vector<std::string> dns_names_;
  std::vector<std::string> suffixes_, plain_;
  NameLookup& lookup_;
  absl::AnyInvocable<void(Result<>)> done_;
  size_t next_ = 0;
  std::optional<Error> error_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};
}  // namespace

bool has_allow_list(const Options& options) {
  return !options.allowed_cns.empty() || !options.allowed_hostnames.empty();
}

Result<> check_allowed(const Options& options, const CertificateNames& leaf) {
  if (!has_allow_list(options)) return {};
  if (std::ranges::find(options.allowed_cns, leaf.common_name) != options.allowed_cns.end()) return {};
  for (const std::string& host : options.allowed_hostnames)
    if (verify_hostname(leaf, host)) return {};
  return Error(Code::kInvalidArgument, "client certificate authentication failed");
}

Result<RevocationList> RevocationList::parse(std::string_view der) {
  const auto* p = reinterpret_cast<const unsigned char*>(der.data());
  const X509CrlPtr crl(d2i_X509_CRL(nullptr, &p, static_cast<long>(der.size())));
  ERR_clear_error();
  if (!crl) return Error(Code::kMalformed, "x509: malformed crl");
  RevocationList list;
  STACK_OF(X509_REVOKED)* entries = X509_CRL_get_REVOKED(crl.get());
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i)
    list.serials_.insert(serial_bytes(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(entries, i))));
  return list;
}

Result<> RevocationList::check(const std::vector<std::string>& serials) const {
  for (const std::string& serial : serials)
    if (serials_.contains(serial))
      return make_error(Code::kInvalidArgument, "transport: certificate serial {} revoked",
                        hex_bytes(serial));
  return {};
}

std::unique_ptr<SanCheck> check_san(CertificateNames names, std::string_view remote, NameLookup& lookup,
                                    absl::AnyInvocable<void(Result<>)> done) {
  const auto answer = [&](Result<> result) {
    done(std::move(result));
    return nullptr;
  };
  if (names.ip_addresses.empty() && names.dns_names.empty()) return answer({});
  auto host = host_of(remote);
  if (!host) return answer(host.error());
  if (!names.ip_addresses.empty()) {
    Result<> ok = verify_hostname(names, *host);
    if (ok || names.dns_names.empty()) return answer(std::move(ok));
  }
  auto check =
      std::make_unique<DnsCheck>(std::move(*host), std::move(names.dns_names), lookup, std::move(done));
  check->start();
  return check;
}

}  // namespace quoin::tls
