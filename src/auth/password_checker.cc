#include "auth/password_checker.h"

#include <absl/container/flat_hash_map.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <deque>
#include <mutex>

#include "base/check.h"

namespace quoin::auth {
namespace {

using Digest = std::array<char, 32>;

// No key makes sense of it but the one that this process drew.
Digest keyed_hash(const Digest& key, std::string_view hash, std::string_view password) {
  // The stored hash's length in front: no other pair gives the same bytes.
  std::string text = fmt::format("{}:", hash.size());
  text += hash;
  text += password.substr(0, kPasswordBytesMax);
  Digest out;
  unsigned size = out.size();
  const unsigned char* made = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                                   reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                                   reinterpret_cast<unsigned char*>(out.data()), &size);
  CHECK(made != nullptr && size == out.size());
  OPENSSL_cleanse(text.data(), text.size());
  return out;
}

// Longer texts are no bcrypt hashes; they are not remembered, so that a look-up stays short.
constexpr size_t kRememberedHashMax = 128;

}  // namespace

struct PasswordChecker::State {
  using GivenUp = PasswordChecker::GivenUp;
  State(const Options& o, io::Clock& c, Secrets& s, metrics::Registry& metrics)
      : options(o),
        clock(c),
        secrets(s),
        jobs_gauge(metrics.gauge("quoin_auth_password_jobs", "Passwords waiting to be hashed or compared.")),
        refused(metrics.counter("quoin_auth_password_jobs_refused_total",
                                "Passwords not looked at because too many were waiting.")),
        recalled(metrics.counter("quoin_auth_logins_remembered_total",
                                 "Logins answered from the memory of recent ones.")) {
    secrets.fill(key);
  }

  // kStopped, kTooManyRequests, or the job counts as waiting from here on.
  Result<> admit(size_t bytes) {
    const std::lock_guard lock(mutex);
    if (closed) return Code::kStopped;
    if (jobs >= options.jobs_max || bytes > options.bytes_max - std::min(options.bytes_max, job_bytes)) {
      refused.inc();
      return Code::kTooManyRequests;
    }
    ++jobs;
    job_bytes += bytes;
    jobs_gauge.set(static_cast<double>(jobs));
    return {};
  }
  // Whether the job is still wanted: kStopped, kContextCanceled.
  Result<> begin(size_t bytes, const GivenUp& given_up) {
    const std::lock_guard lock(mutex);
    --jobs;
    job_bytes -= bytes;
    jobs_gauge.set(static_cast<double>(jobs));
    if (closed) return Code::kStopped;
    if (given_up != nullptr && given_up->load(std::memory_order_relaxed)) return Code::kContextCanceled;
    return {};
  }

  bool remembers(const Digest& login) {
    const io::MonotonicNs now = clock.monotonic();
    const std::lock_guard lock(mutex);
    forget_old(now);
    const auto it = logins.find(login);
    if (it == logins.end() || now > it->second) return false;
    recalled.inc();
    return true;
  }
  void remember(const Digest& login) {
    const io::MonotonicNs now = clock.monotonic();
    const std::lock_guard lock(mutex);
    forget_old(now);
    if (closed || options.logins_max == 0 || logins.contains(login)) return;
    if (by_age.size() >= options.logins_max) forget_first();
    logins.emplace(login, now + options.login_ttl_ns);
    by_age.push_back({now + options.login_ttl_ns, login});
  }
  void forget_first() {
    logins.erase(by_age.front().second);
    by_age.pop_front();
  }
  // A few at a time: whoever calls waits for it.
  void forget_old(io::MonotonicNs now) {
    for (int i = 0; i < 16 && !by_age.empty() && by_age.front().first < now; ++i) forget_first();
  }

  const Options options;
  io::Clock& clock;
  Secrets& secrets;
  Digest key;
  std::vector<io::Executor*> pool;
  std::atomic<size_t> next_executor{0};
  metrics::Gauge& jobs_gauge;
  metrics::Counter& refused;
  metrics::Counter& recalled;

  std::mutex mutex;  // guards what follows
  bool closed = false;
  size_t jobs = 0, job_bytes = 0;
  absl::flat_hash_map<Digest, io::MonotonicNs> logins;
  std::deque<std::pair<io::MonotonicNs, Digest>> by_age;
};

PasswordChecker::PasswordChecker(const Options& options, std::vector<io::Executor*> pool, io::Clock& clock,
                                 Secrets& secrets, metrics::Registry& metrics)
    : state_(std::make_shared<State>(options, clock, secrets, metrics)) {
  CHECK(!pool.empty());
  state_->pool = std::move(pool);
}

PasswordChecker::~PasswordChecker() {
  close();
}

void PasswordChecker::close() {
  const std::lock_guard lock(state_->mutex);
  state_->closed = true;
}

size_t PasswordChecker::waiting() const {
  const std::lock_guard lock(state_->mutex);
  return state_->jobs;
}

size_t PasswordChecker::remembered() const {
  const std::lock_guard lock(state_->mutex);
  return state_->logins.size();
}

void PasswordChecker::hash(std::string password, io::Executor& reply,
                           absl::AnyInvocable<void(Result<std::string>)> done, GivenUp given_up) {
  const auto answer = [&reply](auto callback, Result<std::string> r) {
    reply.post([callback = std::move(callback), r = std::move(r)]() mutable { callback(std::move(r)); });
  };
  // What hash_password() would refuse needs no thread, and no room.
  if (password.size() > kPasswordBytesMax) return answer(std::move(done), Code::kPasswordTooLong);
  const size_t bytes = password.size();
  if (auto admitted = state_->admit(bytes); !admitted) return answer(std::move(done), admitted.error());
  io::Executor& worker = *state_->pool[state_->next_executor++ % state_->pool.size()];
  worker.post([state = state_, password = std::move(password), bytes, answer, done = std::move(done),
               given_up = std::move(given_up)]() mutable {
    if (Result<> wanted = state->begin(bytes, given_up); !wanted)
      return answer(std::move(done), wanted.error());
    Result<std::string> hash = hash_password(password, state->options.cost, state->secrets);
    OPENSSL_cleanse(password.data(), password.size());
    answer(std::move(done), std::move(hash));
  });
}

void PasswordChecker::compare(std::string hash, std::string password, io::Executor& reply,
                              absl::AnyInvocable<void(Result<>)> done, GivenUp given_up) {
  const auto answer = [&reply](auto callback, Result<> r) {
    reply.post([callback = std::move(callback), r = std::move(r)]() mutable { callback(std::move(r)); });
  };
  // The rest is not read by bcrypt and must not take part in the bound.
  if (password.size() > kPasswordBytesMax) password.resize(kPasswordBytesMax);
  const bool memorable = hash.size() <= kRememberedHashMax;
  Digest login{};
  if (memorable) {
    login = keyed_hash(state_->key, hash, password);
    if (state_->remembers(login)) return answer(std::move(done), {});
  }
  const size_t bytes = hash.size() + password.size();
  if (auto admitted = state_->admit(bytes); !admitted) return answer(std::move(done), admitted);
  io::Executor& worker = *state_->pool[state_->next_executor++ % state_->pool.size()];
  worker.post([state = state_, hash = std::move(hash), password = std::move(password), bytes, memorable,
               login, answer, done = std::move(done), given_up = std::move(given_up)]() mutable {
    if (Result<> wanted = state->begin(bytes, given_up); !wanted) return answer(std::move(done), wanted);
    // Whoever sent the same login twice at once waits for one bcrypt, not for two.
    Result<> right;
    if (!(memorable && state->remembers(login))) {
      right = compare_password(hash, password);
      if (right && memorable) state->remember(login);
    }
    OPENSSL_cleanse(password.data(), password.size());
    answer(std::move(done), std::move(right));
  });
}

}  // namespace quoin::auth
