// JSON web tokens (--auth-token=jwt,...): made at login, and verified with every call that carries one.
//
// A token says who it is for and as of which auth revision: {"exp":..., "revision":..., "username":...}. Nothing
// is kept about it here. A member that has only the public key verifies what others sign.
//
// The algorithm of a token's head must be the configured one; nothing in a token chooses how it is verified.
// "none" is never accepted.
//
// Threads: immutable; any thread. sign() may take a millisecond or more (RSA): on a pool thread. verify() is
// below that at every length, since longer tokens than kJwtBytesMax are no tokens.
// Errors: sign(): kTokenVerifyOnly without a private key. make(): see jwt_key.h and token_options.h.
// Source: spec api-semantics 6.3; etcd's jwt.go; RFC 7519.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "auth/checks.h"
#include "auth/jwt_key.h"
#include "auth/token_options.h"
#include "base/result.h"
#include "io/clock.h"

namespace quoin::auth {

constexpr size_t kJwtBytesMax = 64u << 10;

class Jwt {
 public:
  static Result<std::unique_ptr<Jwt>> make(const JwtOptions& options);

  Result<std::string> sign(std::string_view user, uint64_t revision, io::WallNs now) const;
  // Whom the token is for, if it is one and is valid now.
  std::optional<AuthInfo> verify(std::string_view token, io::WallNs now) const;
  bool verify_only() const { return key_->verify_only(); }

 private:
  Jwt(std::string method, std::unique_ptr<JwtKey> key, int64_t ttl_ns)
      : method_(std::move(method)), key_(std::move(key)), ttl_ns_(ttl_ns) {}

  const std::string method_;
  const std::unique_ptr<JwtKey> key_;
  const int64_t ttl_ns_;
};

}  // namespace quoin::auth
