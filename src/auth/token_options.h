// The value of --auth-token: "simple" (the default), "jwt,sign-method=RS256,pub-key=...,priv-key=...,ttl=5m", or
// nothing at all (no tokens: Authenticate always fails).
// Threads: start-up only.
// Errors: kInvalidArgument with etcd's texts; "auth: invalid auth options" for anything but a wrong key.
// Source: spec api-semantics 6.3; etcd's store.go (decomposeOpts, NewTokenProvider) and options.go.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quoin::auth {

enum class TokenKind : uint8_t { kNone, kSimple, kJwt };

struct TokenOptions {
  TokenKind kind = TokenKind::kSimple;
  std::map<std::string, std::string> values;
};
Result<TokenOptions> parse_token_options(std::string_view text);

// Reads a whole file.
using FileReader = std::function<Result<std::string>(const std::string& path)>;

struct JwtOptions {
  std::string sign_method;
  std::string public_key,
      private_key;  // contents of the files; for HMAC the private one is the secret itself
  int64_t ttl_ns = 0;
  std::vector<std::string> unknown;  // options nobody knows; etcd warns ("unknown JWT options") and goes on
};
// Whether the method exists and fits the keys is Jwt::make()'s to say.
Result<JwtOptions> parse_jwt_options(const TokenOptions& options, const FileReader& read_file);

// Go's time.ParseDuration: "5m", "1h30m", "1.5s", "-2ms", "0". Empty: no duration.
std::optional<int64_t> parse_go_duration(std::string_view text);

}  // namespace quoin::auth
