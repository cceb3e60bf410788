// What a run of the benchmark stands on: one loop on one thread, the connections, and the thread of main() that waits.
//
//   main()            script: connects, makes phases, prints; waits in call() and run()
//   the loop          all clients, all calls, all counting: no lock and no hand-over between a call's end and the next
//
// One loop is enough: it makes more calls than one member answers (docs/benchmark.md has figures).
//
// Threads: everything here on the thread of main(), unless said otherwise.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/client.h"
#include "cmd/benchmark/arguments.h"
#include "cmd/benchmark/interrupts.h"
#include "cmd/benchmark/progress.h"
#include "posix/clock.h"
#include "posix/executors.h"
#include "posix/loop.h"
#include "posix/timers.h"
#include "tls/credentials.h"

namespace quoin::cmd::bench {

class Engine;

// One stretch of load. Methods run on the loop.
class Phase {
 public:
  virtual ~Phase() = default;
  // Ends with Engine::finished() or Engine::failed(), at once or later.
  virtual void begin(Engine& engine) = 0;
  // No more counting: it was interrupted. What runs is dropped with the phase.
  virtual void stop() = 0;

  // Any thread: for the progress line and for stalls.
  std::atomic<uint64_t> done{0};     // operations, or events
  uint64_t expected = 0;             // 0: not known
  std::atomic<bool> waiting{false};  // for an answer; if not, nothing needs to happen
};

enum class Ending : uint8_t { kDone, kInterrupted, kFailed };

class Engine {
 public:
  Engine(const Arguments& arguments, Interrupts& interrupts);
  ~Engine();

  // Makes the connections and waits until each of them stands. Errors: the line for standard error.
  std::optional<std::string> connect();
  // Runs it to its end. After kFailed, failure() says why; after kInterrupted a signal came.
  Ending run(Phase& phase);
  const std::string& failure() const { return failure_; }
  int signal() const { return signal_; }
  // Destroys something whose calls live on the loop.
  template <class T>
  void drop(std::unique_ptr<T>& what) {
    on_loop([&] { what.reset(); });
  }
  // Runs `f` on the loop and waits for it.
  void on_loop(std::function<void()> f);
  // One call, its answer. Without a timeout --stall-timeout bounds it. Errors: kNotFound if the server has answered that it
  // does not do this, else kIo; both with error_text().
  Result<std::string> call(client::Client& client, const client::Method& method, std::string_view request,
                           int64_t timeout_ns = 0, bool wait_for_ready = true);

  // Of worker `i`: one connection.
  client::Client& client_of(size_t i) { return *clients_[i % clients_.size()]; }
  // One more connection, as one of --conns is made. It stands. Errors: as connect().
  std::optional<std::string> connect_one_more(client::Client** client, const std::string& endpoint = "");
  const Arguments& arguments() const { return arguments_; }

  // ---- on the loop ----
  void finished();
  void failed(std::string why);
  io::MonotonicNs now() const { return clock_.monotonic(); }
  int64_t unix_now() const { return clock_.wall(); }
  std::unique_ptr<io::Timer> after(int64_t ns, Task task) {
    return timers_.schedule(ns, loop_, std::move(task));
  }

 private:
  class Sync;
  Result<std::unique_ptr<client::Client>> make(std::vector<std::string> endpoints);
  std::optional<std::string> find_leader(std::vector<std::string>* urls);
  std::optional<std::string> load_credentials();

  const Arguments& arguments_;
  Interrupts& interrupts_;
  posix::SystemClock clock_;
  posix::ThreadTimers timers_{clock_};
  posix::UvNetwork network_;
  posix::UvLoop loop_{"load"};
  const client::Environment env_{loop_, network_, timers_, clock_};
  std::shared_ptr<const tls::Credentials> credentials_;
  std::string username_, password_;
  std::vector<std::string> leader_urls_;
  std::vector<std::unique_ptr<client::Client>> clients_;
  std::vector<std::unique_ptr<client::Client>> others_;
  std::vector<std::unique_ptr<Sync>> syncs_;
  size_t next_endpoint_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;    // guarded by mutex_
  std::string failure_;  // guarded by mutex_ while a phase runs
  int signal_ = 0;       // guarded by mutex_ while a phase runs
};

// How etcd's Go client words the error: etcd's own errors bare, others as "rpc error: code = X desc = Y".
std::string error_text(GrpcStatus status, std::string_view text);

}  // namespace quoin::cmd::bench
