// The names in a certificate, and whether it is for a given host, as Go's crypto/x509 decides and words it.
//
// Pure; any thread.
// Errors: kInvalidArgument with Go's text ("x509: certificate is valid for a, not b").
// Source: Go's crypto/x509 verify.go (VerifyHostname, HostnameError).
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quoin::tls {

struct CertificateNames {
  std::string common_name;   // of the subject; the last one if there are several, as in Go
  std::string organization;  // the first one
  // The serial number's bytes, big endian, without leading zeros; empty for 0.
  std::string serial;
  std::vector<std::string> ip_addresses;  // 4 or 16 bytes each
  std::vector<std::string> dns_names;
  bool has_san_extension = false;

  // The addresses as Go prints them: "10.0.0.1", "fd00::1".
  std::vector<std::string> ip_texts() const;
};

// The bytes of an address (4, or 16; an IPv4 address mapped into IPv6 counts as IPv4); nothing if `text` is
// none.
std::optional<std::string> parse_ip(std::string_view text);
// net.IP.String() of 4 or 16 bytes; "?" and hex for another length.
std::string ip_text(std::string_view bytes);

// Whether the certificate is for `host`: an address is looked for among the IP SANs only, a name among the
// DNS SANs (a wildcard as the whole first label counts). The common name never counts.
Result<> verify_hostname(const CertificateNames& names, std::string_view host);

}  // namespace quoin::tls
