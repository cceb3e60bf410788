// Who is at the other end of a TLS connection, and how it was agreed.
#pragma once
#include <string>

#include "tls/names.h"
#include "tls/options.h"

namespace quoin::tls {

struct Identity {
  // The other side presented a certificate, and its chain was verified (or, in the client role with
  // insecure_skip_verify, was not looked at).
  bool has_certificate = false;
  CertificateNames names;
  // Serials of all certificates presented, the leaf's first, as CertificateNames::serial.
  std::vector<std::string> serials;
  std::string alpn;         // "h2", or empty
  std::string server_name;  // asked for by the client (SNI), or what the client role verified
  Version version = Version::kDefault;
  std::string cipher_suite;  // the name of the IANA
  bool resumed = false;
};

}  // namespace quoin::tls
