// What etcd asks of the other side's certificate beyond the chain: allowed common names and host names, the
// revocation list, and the names in a client's certificate against the address it came from.
//
// Plain functions; any thread. check_san() answers on whatever thread its resolver answers on.
// Errors: kInvalidArgument, kMalformed, with etcd's text.
// Source: spec operations 4.2; etcd's client/pkg/transport/listener.go (baseConfig) and listener_tls.go
// (checkCRL, checkCertSAN, isHostInDNS).
#pragma once
#include <absl/functional/any_invocable.h>

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tls/names.h"
#include "tls/options.h"

namespace quoin::tls {

// `client certificate authentication failed` unless the leaf's common name is one of allowed_cns, or it is
// for one of allowed_hostnames. Neither given: any certificate.
Result<> check_allowed(const Options& options, const CertificateNames& leaf);
bool has_allow_list(const Options& options);

// The serials of a revocation list.
class RevocationList {
 public:
  // DER only, as etcd 3.6: `x509: malformed crl`.
  static Result<RevocationList> parse(std::string_view der);
  // `transport: certificate serial <hex> revoked` for the first of the serials (CertificateNames::serial)
  // that is in the list.
  Result<> check(const std::vector<std::string>& serials) const;
  size_t size() const { return serials_.size(); }

 private:
  std::set<std::string, std::less<>> serials_;
};

// Look-ups that do not block. Each calls `done` once, on the thread of the caller of check_san(), and not
// within the call. Errors have Go's text: "lookup a on 10.0.0.2:53: no such host".
class NameLookup {
 public:
  using Done = absl::AnyInvocable<void(Result<std::vector<std::string>>)>;
  virtual ~NameLookup() = default;
  // The names of an address (PTR), a dot at their end or not.
  virtual void lookup_address(const std::string& ip, Done done) = 0;
  // The addresses of a name.
  virtual void lookup_host(const std::string& name, Done done) = 0;
};

// Whether a client with this certificate may come from `remote` ("127.0.0.1:51234"). A certificate without IP
// and DNS SANs passes; one with the address among its IP SANs passes; else its DNS SANs are compared with the
// names of the address, and then their addresses with the address. `done` runs within the call if nothing has
// to be looked up.
//
// `lookup` must live until `done` ran or the returned object was dropped; dropping it ends the check, and
// `done` does not run.
class SanCheck {
 public:
  virtual ~SanCheck() = default;
};
[[nodiscard]] std::unique_ptr<SanCheck> check_san(CertificateNames names, std::string_view remote,
                                                  NameLookup& lookup,
                                                  absl::AnyInvocable<void(Result<>)> done);

}  // namespace quoin::tls
