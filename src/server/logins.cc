#include "server/logins.h"

#include "auth/jwt.h"

namespace quoin::server {

Logins::Logins(const Config& config, const auth::Published& published, std::vector<io::Executor*> pool,
               io::Clock& clock, log::Logger& log, metrics::Registry& metrics)
    : config_(config),
      published_(published),
      pool_(std::move(pool)),
      clock_(clock),
      log_(log),
      secrets_(auth::system_secrets()),
      tokens_({.ttl_ns = config.auth_token_ttl_ns}, clock, metrics),
      passwords_({.cost = config.bcrypt_cost}, pool_, clock, *secrets_, metrics) {
  if (config_.token_kind == auth::TokenKind::kSimple) {
    LOG(log_, kWarn, "simple token is not cryptographically signed", );
  }
}

std::optional<Index> Logins::index_of(std::string_view token) const {
  if (config_.token_kind != auth::TokenKind::kSimple) return std::nullopt;
  return auth::parse_simple_token(token);
}

std::optional<auth::AuthInfo> Logins::whose(std::string_view token, const auth::Permissions& now) {
  std::optional<auth::AuthInfo> out;
  if (config_.token_kind == auth::TokenKind::kSimple) {
    if (auto user = tokens_.find(token)) out = auth::AuthInfo{std::move(*user), now.revision};
  } else if (config_.token_kind == auth::TokenKind::kJwt) {
    out = config_.jwt->verify(token, clock_.wall());
  }
  if (!out) {
    LOG(log_, kWarn, "invalid auth token", {"token-fingerprint", auth::token_fingerprint(token)});
  }
  return out;
}

std::string Logins::new_token_prefix() {
  if (config_.token_kind != auth::TokenKind::kSimple) return {};
  return auth::new_token_prefix(*secrets_);
}

void Logins::sign(std::string user, uint64_t revision, io::Executor& reply,
                  absl::AnyInvocable<void(Result<std::string>)> done) {
  io::Executor& thread = *pool_[next_.fetch_add(1, std::memory_order_relaxed) % pool_.size()];
  thread.post([jwt = config_.jwt, user = std::move(user), revision, now = clock_.wall(), &reply,
               done = std::move(done)]() mutable {
    auto token = jwt->sign(user, revision, now);
    reply.post([done = std::move(done), token = std::move(token)]() mutable { done(std::move(token)); });
  });
}

Result<std::string> Logins::assign(std::string_view user, std::string_view prefix, Index entry) {
  switch (config_.token_kind) {
    case auth::TokenKind::kSimple: {
      std::string token = auth::simple_token(prefix, Index(entry.v - 1));
      tokens_.assign(token, user);
      return token;
    }
    case auth::TokenKind::kJwt:
      return std::string();
    case auth::TokenKind::kNone:
      break;
  }
  return Error(Code::kAuthFailed);
}

void Logins::enabled() {
  tokens_.enable();
}
void Logins::disabled() {
  tokens_.disable();
}
void Logins::user_changed(std::string_view user) {
  tokens_.end_user(user);
}

}  // namespace quoin::server
