// A certificate, what should be sent along with it, and its key, out of two PEM texts.
//
// For the .cc files of this module alone. Pure; any thread.
// Errors: kMalformed with the texts of Go's tls.X509KeyPair.
#pragma once
#include <string_view>
#include <vector>

#include "tls/ossl.h"

namespace quoin::tls {

struct KeyPair {
  X509Ptr leaf;
  std::vector<X509Ptr> chain;  // what follows the leaf in the file
  PkeyPtr key;
};

Result<KeyPair> parse_key_pair(std::string_view cert_pem, std::string_view key_pem);

// All blocks of a file of trusted certificates, as etcd's NewCertPool takes them: a block that is no
// certificate is an error, a file without blocks is not.
Result<std::vector<X509Ptr>> parse_certificates(std::string_view pem);

}  // namespace quoin::tls
