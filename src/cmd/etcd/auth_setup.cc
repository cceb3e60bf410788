#include "cmd/etcd/auth_setup.h"

#include <algorithm>

#include "auth/jwt.h"
#include "auth/token_options.h"
#include "cmd/etcd/small_file.h"

namespace quoin::cmd {

namespace {
Result<std::shared_ptr<const auth::Jwt>> make_jwt(const auth::TokenOptions& options, log::Logger& log) {
  ASSIGN_OR_RETURN(const auth::JwtOptions jwt, auth::parse_jwt_options(options, read_small_file));
  if (!jwt.unknown.empty()) LOG(log, kWarn, "unknown JWT options", {"keys", jwt.unknown});
  ASSIGN_OR_RETURN(auto made, auth::Jwt::make(jwt));
  return std::shared_ptr<const auth::Jwt>(std::move(made));
}

Result<> set_up_tokens(const Config& config, log::Logger& log, server::Config* out) {
  ASSIGN_OR_RETURN(const auth::TokenOptions options, auth::parse_token_options(config.auth_token));
  out->token_kind = options.kind;
  if (options.kind != auth::TokenKind::kJwt) return {};
  ASSIGN_OR_RETURN(out->jwt, make_jwt(options, log));
  return {};
}
}  // namespace

Result<> set_up_auth(const Config& config, log::Logger& log, server::Config* out) {
  constexpr uint64_t kSecondsMax = INT64_MAX / io::kSecond;
  out->auth_token_ttl_ns = static_cast<int64_t>(std::min(config.auth_token_ttl_s, kSecondsMax)) * io::kSecond;
  out->bcrypt_cost =
      auth::bcrypt_cost_or_default(static_cast<int>(std::min<uint64_t>(config.bcrypt_cost, 1000)));
  out->client_cert_auth = config.client_tls.client_cert_auth;
  if (Result<> tokens = set_up_tokens(config, log, out); !tokens) {
    LOG(log, kWarn, "failed to create token provider", {"error", tokens.error().text()});
    return tokens;
  }
  return {};
}

}  // namespace quoin::cmd
