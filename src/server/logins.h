// What lets users in: passwords and tokens. It keeps none of the state machine's state: that is the auth store's
// (auth_store.h), which tells this class of what ends tokens.
//
// Threads: any, as each method says. Lifetime: the environment outlives it; it outlives the loops that use it.
// Source: spec api-semantics 6.2, 6.3.
#pragma once
#include <absl/functional/any_invocable.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "auth/checks.h"
#include "auth/password_checker.h"
#include "auth/permissions.h"
#include "auth/secrets.h"
#include "auth/store.h"
#include "auth/tokens.h"
#include "base/log.h"
#include "io/clock.h"
#include "io/executor.h"
#include "server/config.h"

namespace quoin::server {

class Logins final : public auth::Listener {
 public:
  // `pool`: threads that may be busy for 100 ms a job, one at least. `published`: of the member's auth store.
  Logins(const Config& config, const auth::Published& published, std::vector<io::Executor*> pool,
         io::Clock& clock, log::Logger& log, metrics::Registry& metrics);

  // ---- any thread ----
  const auth::Published& published() const { return published_; }
  bool client_cert_auth() const { return config_.client_cert_auth; }
  auth::PasswordChecker& passwords() { return passwords_; }
  // The index that must be applied here before `token` can be told to be right or wrong; none: it can be now.
  std::optional<Index> index_of(std::string_view token) const;
  // Whom the token is for; empty, and a line in the log, if it is not valid.
  std::optional<auth::AuthInfo> whose(std::string_view token, const auth::Permissions& now);
  // What the Authenticate entry carries; empty unless tokens are simple.
  std::string new_token_prefix();
  bool signs_tokens() const { return config_.token_kind == auth::TokenKind::kJwt; }
  // A signed token, where signs_tokens(). `done` on `reply`.
  void sign(std::string user, uint64_t revision, io::Executor& reply,
            absl::AnyInvocable<void(Result<std::string>)> done);

  // ---- apply strand ----
  // The answer to an Authenticate entry: the token, empty if it will be signed by who received the call.
  // kAuthFailed where no tokens are made.
  Result<std::string> assign(std::string_view user, std::string_view prefix, Index entry);
  // On a timer: gives back the memory of tokens that have ended. True if there is more.
  bool sweep() { return tokens_.sweep(); }
  void enabled() override;
  void disabled() override;
  void user_changed(std::string_view user) override;

 private:
  const Config& config_;
  const auth::Published& published_;
  const std::vector<io::Executor*> pool_;
  io::Clock& clock_;
  log::Logger& log_;
  const std::unique_ptr<auth::Secrets> secrets_;
  auth::TokenTable tokens_;
  auth::PasswordChecker passwords_;
  std::atomic<size_t> next_{0};
};

}  // namespace quoin::server
