// OpenSSL's context for Credentials. For the .cc files of this module alone.
#pragma once
#include <vector>

#include "tls/key_pair.h"
#include "tls/ossl.h"

namespace quoin::tls {

class Credentials;

struct ContextParts {
  const KeyPair* pair = nullptr;  // null: handshakes that need one fail
  std::vector<X509*> anchors;
  bool name_anchors = false;  // tell them to clients that are asked for a certificate
};

// Reads options, role and tickets of `credentials`, which need not be whole yet.
// kUnsupported: no suite is left, or OpenSSL does not take the pair.
Result<SslCtxPtr> make_context(const Credentials& credentials, const ContextParts& parts);

}  // namespace quoin::tls
