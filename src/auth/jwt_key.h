// The keys and signatures of JSON web tokens: one method and its key, by OpenSSL.
//
// Methods: HS, RS, PS and ES with 256, 384 and 512, and EdDSA (Ed25519). "none" is no method.
// Keys: PEM for all but HMAC, of the first block in the file. Private: PKCS #8, PKCS #1 or SEC 1, not encrypted.
// Public: SubjectPublicKeyInfo, PKCS #1, or a certificate.
//
// Threads: a key is immutable; sign() and verify() on any thread. An RSA signature takes about a millisecond or
// more and belongs on a pool thread; HMAC and verification are short.
// Errors: kInvalidArgument with etcd's texts where etcd has its own; kTokenVerifyOnly from sign() without a
// private key.
// Source: spec api-semantics 6.3; etcd's options.go; RFC 7518.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quoin::auth {

class JwtKey {
 public:
  virtual ~JwtKey() = default;
  // Either key may be empty; for HMAC `private_key` is the secret. A private key can verify as well.
  static Result<std::unique_ptr<JwtKey>> make(std::string_view method, std::string_view private_key,
                                              std::string_view public_key);

  virtual Result<std::string> sign(std::string_view text) const = 0;
  virtual bool verify(std::string_view text, std::string_view signature) const = 0;
  virtual bool verify_only() const = 0;
};

}  // namespace quoin::auth
