// Executors of the real machine (io/executor.h): a thread that may wait for disks, and a strand that owns no
// thread and runs in whoever hands it work.
//
// Why inline strands: five thread hops cost 65 us on an idle member; raft and apply therefore run in the
// thread that brings them something, so that an idle Put needs two hops (to the append thread and back).
//
// Who runs a strand's tasks (design.md section 1):
//   - the poster runs them at once if the strand is idle, but for the cases below;
//   - posted to from inside another strand's task, a strand runs after that task, in the same thread, never
//     nested in it. Until then any other poster that may run it takes it over: a long task of one strand
//     never holds up the other;
//   - a DiskThread with disk work queued runs no strand; the fallback executor (a client loop) does;
//   - the timers' thread runs only strands that say so (raft, for its ticks), never apply;
//   - after kStepBudget tasks or kTimeBudget in one go the rest moves to the fallback executor, so that no
//     poster is held up for longer. Whoever posts in the meantime may take it over as well.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/metrics.h"
#include "io/clock.h"
#include "io/executor.h"

namespace quoin::posix {

// How long the tasks of one executor take. Measured by whoever runs it; read on any thread.
//
// What others of the machine do counts in that time. So a second figure says how much of it was spent on a
// processor: of tasks that took longer than kLimitNs, and at most kLimitNs too much, because the thread's own
// clock, which costs a system call, is read once in that time only and not at the start of each task. A thread
// that does other work between the tasks calls before_tasks().
class TaskMeter {
 public:
  // The longest that a task on a strand or loop may take (design.md section 1).
  static constexpr int64_t kLimitNs = io::kMillisecond;

  static io::MonotonicNs now();
  static void before_tasks(io::MonotonicNs now) {
    if (now - processor_looked_at > kLimitNs) look_at_processor(now);
  }
  // `begin` and `end` of a task, as now() told them, on the thread that ran it.
  void took(io::MonotonicNs begin, io::MonotonicNs end) {
    const int64_t ns = end - begin;
    if (ns > longest_.load(std::memory_order_relaxed)) longest_.store(ns, std::memory_order_relaxed);
    if (ns > kLimitNs) over_limit_.fetch_add(1, std::memory_order_relaxed);
    if (ns > kLimitNs) took_long(begin, end);
    if (end - processor_looked_at > kLimitNs) look_at_processor(end);
  }
  int64_t longest_ns() const { return longest_.load(std::memory_order_relaxed); }
  int64_t longest_on_processor_ns() const { return longest_on_processor_.load(std::memory_order_relaxed); }
  uint64_t over_limit() const { return over_limit_.load(std::memory_order_relaxed); }
  // quoin_executor_longest_task_seconds, quoin_executor_longest_task_cpu_seconds and
  // quoin_executor_long_tasks_total. The meter outlives the scrapes.
  void publish(metrics::Registry& metrics, const std::string& executor) const;

 private:
  void took_long(io::MonotonicNs begin, io::MonotonicNs end);
  static void look_at_processor(io::MonotonicNs now);
  // When this thread's own clock was last read.
  static inline constinit thread_local io::MonotonicNs processor_looked_at = 0;

  std::atomic<int64_t> longest_{0};  // written by one thread at a time
  std::atomic<int64_t> longest_on_processor_{0};
  std::atomic<uint64_t> over_limit_{0};
};

// A thread of its own. Tasks may block on disks. stop() runs what is queued, then joins.
class DiskThread final : public io::Executor {
 public:
  explicit DiskThread(std::string name);
  ~DiskThread() override;
  void post(Task task) override;
  bool running_here() const override;
  // Runs all queued tasks (and those they post), then ends the thread. Later posts are CHECKed.
  void stop();
  // True on a DiskThread's own thread while tasks wait behind the running one.
  static bool current_has_backlog();

 private:
  void run();
  const std::string name_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Task> queue_;        // guarded by mutex_
  std::atomic<size_t> queued_{0};  // queue_.size(), for a look without the lock
  bool stopping_ = false;          // guarded by mutex_
  size_t running_left_ = 0;        // of the batch being run; this thread only
  std::thread thread_;
};

// Marks the calling thread as the timers' thread: only strands that allow it run here.
void mark_timers_thread();

struct StrandOptions {
  bool in_timers_thread = false;
};

class InlineStrand final : public io::Executor {
 public:
  // `fallback` outlives the strand.
  explicit InlineStrand(io::Executor& fallback, StrandOptions options = {})
      : fallback_(fallback), options_(options) {}
  void post(Task task) override;
  bool running_here() const override;
  const TaskMeter& meter() const { return meter_; }

 private:
  static constexpr int kStepBudget = 64;
  static constexpr int64_t kTimeBudgetNs = io::kMillisecond;
  friend struct InlineRunner;
  enum class State : uint8_t {
    kIdle,     // nothing is queued
    kWaiting,  // something is queued and a thread or the fallback will run it, unless a poster is faster
    kRunning,
  };
  bool may_run_here() const;
  // kWaiting -> kRunning; false if the strand is not waiting any more.
  bool claim();
  // Runs tasks until none is left (kIdle) or the budget is used up (kWaiting, handed to the fallback).
  void drain();
  // A waiting strand: the fallback runs it, unless a poster is faster.
  void post_to_fallback();

  io::Executor& fallback_;
  const StrandOptions options_;
  std::mutex mutex_;
  std::vector<Task> queue_;     // guarded by mutex_
  State state_ = State::kIdle;  // guarded by mutex_
  bool with_fallback_ = false;  // guarded by mutex_: a task that runs this strand is queued there
  std::vector<Task> batch_;     // whoever runs the strand
  size_t next_ = 0;             // in batch_
  std::atomic<std::thread::id> runner_{};
  TaskMeter meter_;
};

}  // namespace quoin::posix
