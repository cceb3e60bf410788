#include "tls/credentials.h"

#include <functional>
#include <set>

#include "base/check.h"
#include "tls/context.h"
#include "tls/key_pair.h"
#include "tls/pem.h"

namespace quoin::tls {

struct Credentials::Trust {
  std::vector<X509Ptr> certificates;
  bool of_system = false;
};

namespace {
FileContents::Content read_one(const std::string& path, io::FileSystem& files) {
  if (path.empty()) return std::nullopt;
  return io::read_file(files, path, kFileBytesMax);
}

// What can be said without looking at a file, in the order of etcd's TLSInfo.baseConfig().
Result<> check_present(const Options& o, Role role) {
  if (role == Role::kClient && o.empty()) return {};
  if (o.cert_file.empty() || o.key_file.empty())
    return make_error(Code::kInvalidArgument, "KeyFile and CertFile must both be present[key: {}, cert: {}]",
                      o.key_file, o.cert_file);
  return {};
}

Result<> check_rest(const Options& o) {
  if (!o.allowed_cns.empty() && !o.allowed_hostnames.empty())
    return make_error(Code::kInvalidArgument,
                      "AllowedCNs and AllowedHostnames are mutually exclusive (cns={}, hostnames={})",
                      go_quote_list(o.allowed_cns), go_quote_list(o.allowed_hostnames));
  return {};
}

Result<KeyPair> pair_of(const FileContents::Content& cert, const FileContents::Content& key) {
  if (!cert || !key) return Error(Code::kInvalidArgument, "tls: no certificate is configured");
  if (!*cert) return cert->error();
  if (!*key) return key->error();
  return parse_key_pair(**cert, **key);
}

Result<> check_pairs(const Options& o, Role role, const FileContents& contents) {
  if (role == Role::kClient && o.empty()) return {};
  TRY(pair_of(contents.cert, contents.key));
  if (o.client_key_file.empty() != o.client_cert_file.empty())
    return make_error(
        Code::kInvalidArgument,
        "ClientKeyFile and ClientCertFile must both be present or both absent: key: {}, cert: {}]",
        o.client_key_file, o.client_cert_file);
  if (!o.client_cert_file.empty()) TRY(pair_of(contents.client_cert, contents.client_key));
  return {};
}

// Whose certificates are verified against something.
bool needs_trust(const Options& o, Role role) {
  return role == Role::kServer ? o.demands_client_certificate() : !o.insecure_skip_verify;
}
}  // namespace

FileContents FileContents::read(const Options& o, io::FileSystem& files) {
  FileContents c;
  c.cert = read_one(o.cert_file, files);
  c.key = read_one(o.key_file, files);
  c.client_cert = read_one(o.client_cert_file, files);
  c.client_key = read_one(o.client_key_file, files);
  c.trusted_ca = read_one(o.trusted_ca_file, files);
  c.crl = read_one(o.crl_file, files);
  return c;
}

bool FileContents::same_as(const FileContents& other) const {
  const auto same = [](const Content& a, const Content& b) {
    if (!a || !b) return a.has_value() == b.has_value();
    if (!*a || !*b) return a->has_value() == b->has_value() && a->error() == b->error();
    return **a == **b;
  };
  return same(cert, other.cert) && same(key, other.key) && same(client_cert, other.client_cert) &&
         same(client_key, other.client_key) && same(trusted_ca, other.trusted_ca) && same(crl, other.crl);
}

Result<std::shared_ptr<const Credentials>> Credentials::load(const Options& options, Role role,
                                                             io::FileSystem& files, const io::Clock& clock,
                                                             std::shared_ptr<TicketKeys> tickets) {
  TRY(check_present(options, role));
  const FileContents contents = FileContents::read(options, files);
  TRY(check_pairs(options, role, contents));
  TRY(check_rest(options));
  std::shared_ptr<const Trust> trust;
  if (!options.trusted_ca_file.empty()) {
    ASSIGN_OR_RETURN(trust, parse_trust(contents));
  } else if (needs_trust(options, role)) {
    ASSIGN_OR_RETURN(trust, system_trust(options, files));
  }
  std::shared_ptr<Credentials> made(new Credentials(options, role, clock, std::move(tickets)));
  TRY(made->build(contents, std::move(trust)));
  if (made->pair_error_) return *made->pair_error_;
  return std::shared_ptr<const Credentials>(std::move(made));
}

std::shared_ptr<const Credentials> Credentials::renew(const Credentials& previous,
                                                      const FileContents& contents) {
  const Options& options = previous.options_;
  std::shared_ptr<Credentials> made(
      new Credentials(options, previous.role_, *previous.clock_, previous.tickets_));
  std::shared_ptr<const Trust> trust = previous.trust_;
  if (!options.trusted_ca_file.empty()) {
    if (auto fresh = parse_trust(contents)) {
      trust = std::move(*fresh);
    } else {
      made->trust_error_ = fresh.error();
    }
  }
  if (auto built = made->build(contents, std::move(trust)); !built) made->pair_error_ = built.error();
  return made;
}

Credentials::Credentials(const Options& options, Role role, const io::Clock& clock,
                         std::shared_ptr<TicketKeys> tickets)
    : options_(options),
      role_(role),
      clock_(&clock),
      tickets_(role == Role::kServer ? std::move(tickets) : nullptr) {}

Credentials::~Credentials() {
  SSL_CTX_free(context_);
}

Result<std::shared_ptr<const Credentials::Trust>> Credentials::parse_trust(const FileContents& contents) {
  CHECK(contents.trusted_ca.has_value());
  if (!*contents.trusted_ca) return contents.trusted_ca->error();
  auto trust = std::make_shared<Trust>();
  ASSIGN_OR_RETURN(trust->certificates, parse_certificates(**contents.trusted_ca));
  return std::shared_ptr<const Trust>(std::move(trust));
}

Result<std::shared_ptr<const Credentials::Trust>> Credentials::system_trust(const Options& options,
                                                                            io::FileSystem& files) {
  auto trust = std::make_shared<Trust>();
  trust->of_system = true;
  // Folders hold what the file holds, and links to their own files: each certificate counts once.
  std::set<std::string, std::less<>> seen;
  const auto add = [&](const std::string& path) {
    const auto text = io::read_file(files, path, kFileBytesMax);
    if (!text) return false;
    // As Go: a block that is no certificate, or that cannot be parsed, is left out.
    std::string_view rest = *text;
    while (auto block = next_pem_block(rest)) {
      if (block->type != "CERTIFICATE" || !seen.emplace(block->bytes).second) continue;
      if (auto one = parse_certificate(block->bytes)) trust->certificates.push_back(std::move(*one));
    }
    return true;
  };
  for (const std::string& path : options.system_root_files) {
    if (add(path)) break;
  }
  for (const std::string& folder : options.system_root_dirs) {
    const auto entries = files.list(folder);
    if (!entries) continue;
    for (const io::DirEntry& e : *entries) {
      if (!e.directory) add(folder + "/" + e.name);
    }
  }
  return std::shared_ptr<const Trust>(std::move(trust));
}

Result<> Credentials::build(const FileContents& contents, std::shared_ptr<const Trust> trust) {
  trust_ = std::move(trust);
  if (contents.crl) crl_ = *contents.crl ? RevocationList::parse(**contents.crl) : contents.crl->error();

  const bool client_pair = role_ == Role::kClient && !options_.client_cert_file.empty();
  std::optional<KeyPair> pair;
  if (!options_.empty()) {
    auto parsed = client_pair ? pair_of(contents.client_cert, contents.client_key)
                              : pair_of(contents.cert, contents.key);
    if (parsed) {
      not_after_ = not_after_of(parsed->leaf.get());
      pair = std::move(*parsed);
    } else {
      pair_error_ = parsed.error();
    }
  }
  std::vector<X509*> anchors;
  if (trust_)
    for (const X509Ptr& x : trust_->certificates) anchors.push_back(x.get());
  // Go names the trusted certificates to clients, but not the system's.
  ContextParts parts{pair ? &*pair : nullptr, anchors, trust_ && !trust_->of_system};
  auto context = make_context(*this, parts);
  if (!context && pair) {
    // OpenSSL does not take the pair (a key it finds too small): handshakes fail as with any other broken
    // pair.
    pair_error_ = context.error();
    parts.pair = nullptr;
    context = make_context(*this, parts);
  }
  if (!context) return context.error();
  context_ = context->release();
  return {};
}

Result<> Credentials::check_revoked(const std::vector<std::string>& serials) const {
  if (!crl_ || serials.empty()) return {};
  if (!*crl_) return crl_->error();
  return (*crl_)->check(serials);
}

}  // namespace quoin::tls
