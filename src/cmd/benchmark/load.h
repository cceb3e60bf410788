// The load that most commands make: some workers, each with one operation in flight, until a number of operations is
// done.
//
// Threads: the loop. Cost of an operation beside its call: one look at the clock and a bucket of the histogram; nothing
// is allocated.
// Rate: the timer that starts due operations fires at most every kTickNs, so an operation may start so much late, which
// counts in latencies from the intended start.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/benchmark/engine.h"
#include "cmd/benchmark/pace.h"
#include "cmd/benchmark/report.h"

namespace quoin::cmd::bench {

class Load;

class Worker {
 public:
  virtual ~Worker() = default;
  // Makes operation `k` and tells Load::completed() in the end, not within this.
  virtual void operate(uint64_t k) = 0;

 private:
  friend class Load;
  io::MonotonicNs started_ = 0, intended_ = 0;
};

class Load : public Phase {
 public:
  static constexpr int64_t kTickNs = 250'000;

  // `reports`: begun and ended with the load.
  Load(uint64_t total, int64_t rate, std::vector<Report*> reports);
  ~Load() override;
  // Before begin().
  void add(std::unique_ptr<Worker> worker) { workers_.push_back(std::move(worker)); }

  void begin(Engine& engine) override;
  void stop() override;

  // The operation of `worker` has ended: counted in `report`, and the next begins.
  void completed(Worker& worker, Report& report, GrpcStatus status, std::string_view text);

  // Instead of Engine::finished(). Before begin().
  void when_completed(std::function<void()> f) { when_completed_ = std::move(f); }
  // Each operation that failed; counted all the same.
  void when_failed(std::function<void(const std::string& why)> f) { when_failed_ = std::move(f); }

 private:
  void all_completed();
  void next(Worker& worker, io::MonotonicNs now);
  void start(Worker& worker, io::MonotonicNs now);
  void tick();
  void arm(io::MonotonicNs now);

  const uint64_t total_;
  Pace pace_;
  const std::vector<Report*> reports_;
  std::vector<std::unique_ptr<Worker>> workers_;
  Engine* engine_ = nullptr;
  uint64_t next_ = 0, completed_ = 0;
  size_t running_ = 0;
  std::deque<Worker*> idle_;  // they wait until an operation is due, and go in turn
  std::unique_ptr<io::Timer> timer_;
  bool stopped_ = false;
  std::function<void()> when_completed_;
  std::function<void(const std::string&)> when_failed_;
};

}  // namespace quoin::cmd::bench
