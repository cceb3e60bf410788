// Hashes and compares passwords away from the loops, and remembers logins that were right a moment ago.
//
// A comparison costs tens of milliseconds by design. Jobs go to a pool of executors (threads that wait for
// nothing else) in turn, and answers come back on the executor of who asked. A login whose password was found
// right is remembered for a short time by a fast hash under a secret key, so that a client that logs in again and
// again costs a bcrypt once in that time. What is remembered is (stored hash, password): it is of no use any more
// as soon as the user's stored hash changes, since then another hash is asked about. The user's name is left out
// on purpose; the stored hash has a random salt and stands for one user, or for two with the same password.
//
//   checker.compare(hash, password, loop, [](Result<> r) { ... });   // r: ok, or kAuthFailed
//
// Threads: hash() and compare() on any thread; `done` runs as a task of `reply`. A remembered login is answered as
// a posted task too.
// Lifetime: the executors of the pool outlive the checker; jobs under way keep what they need, so that the
// checker may go before they end; the clock and the secrets must not. `reply` must live until `done` ran.
// Bounds: jobs_max jobs and bytes_max bytes of passwords and hashes may wait; what is beyond gets
// kTooManyRequests at once, as etcd answers when it is behind. logins_max logins are remembered, oldest out first.
// Errors: those of password.h; kTooManyRequests; kStopped after close().
#pragma once
#include <absl/functional/any_invocable.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "auth/password.h"
#include "auth/secrets.h"
#include "base/metrics.h"
#include "base/result.h"
#include "io/clock.h"
#include "io/executor.h"

namespace quoin::auth {

class PasswordChecker {
 public:
  struct Options {
    int cost = kBcryptCostDefault;
    size_t jobs_max = 4096;
    size_t bytes_max = 16u << 20;
    size_t logins_max = 10'000;
    int64_t login_ttl_ns = 30 * io::kSecond;
  };
  // `pool` has one executor at least.
  PasswordChecker(const Options& options, std::vector<io::Executor*> pool, io::Clock& clock, Secrets& secrets,
                  metrics::Registry& metrics);
  ~PasswordChecker();  // closes
  PasswordChecker(const PasswordChecker&) = delete;
  PasswordChecker& operator=(const PasswordChecker&) = delete;

  // Becomes true when nobody waits for a job any more. What is not begun by then is not done, and ends with
  // kContextCanceled. Null: somebody always waits.
  using GivenUp = std::shared_ptr<const std::atomic<bool>>;
  // The bcrypt text of a new password.
  void hash(std::string password, io::Executor& reply, absl::AnyInvocable<void(Result<std::string>)> done,
            GivenUp given_up = nullptr);
  void compare(std::string hash, std::string password, io::Executor& reply,
               absl::AnyInvocable<void(Result<>)> done, GivenUp given_up = nullptr);
  // Jobs not begun are answered with kStopped, and so is what comes later.
  void close();

  size_t waiting() const;
  size_t remembered() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace quoin::auth
