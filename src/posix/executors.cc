#include "posix/executors.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>

#include "base/check.h"

namespace quoin::posix {
namespace {
thread_local DiskThread* current_disk_thread = nullptr;
thread_local bool in_timers_thread = false;

// The last readings of this thread's own clock. A task inside of which others are measured needs one from before
// it began, and that may not be the last.
struct Readings {
  struct Reading {
    io::MonotonicNs at;
    int64_t cpu;
  };
  std::array<Reading, 32> last{};
  size_t next = 0;
};
thread_local Readings readings;
}  // namespace

io::MonotonicNs TaskMeter::now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void TaskMeter::look_at_processor(io::MonotonicNs now) {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  Readings& r = readings;
  r.last[r.next] = {now, t.tv_sec * io::kSecond + t.tv_nsec};
  r.next = (r.next + 1) % r.last.size();
  processor_looked_at = now;
}

void TaskMeter::took_long(io::MonotonicNs begin, io::MonotonicNs end) {
  look_at_processor(end);
  const Readings& r = readings;
  const size_t n = r.last.size();
  const Readings::Reading& now = r.last[(r.next + n - 1) % n];
  Readings::Reading before = r.last[r.next];  // the oldest
  for (size_t i = 2; i <= n; ++i) {
    const Readings::Reading& one = r.last[(r.next + n - i) % n];
    if (one.at <= begin) {
      before = one;
      break;
    }
  }
  // Where none is from before the task, what is not known counts.
  const int64_t used = now.cpu - before.cpu + std::max<int64_t>(0, before.at - begin);
  const int64_t ns = std::min(used, end - begin);
  if (ns > longest_on_processor_.load(std::memory_order_relaxed)) {
    longest_on_processor_.store(ns, std::memory_order_relaxed);
  }
}

void TaskMeter::publish(metrics::Registry& metrics, const std::string& executor) const {
  metrics.callback("quoin_executor_longest_task_seconds",
                   "The longest that one task has held this strand or loop since the start.",
                   metrics::Type::kGauge, [this] { return static_cast<double>(longest_ns()) * 1e-9; },
                   {{"executor", executor}});
  metrics.callback("quoin_executor_longest_task_cpu_seconds",
                   "The most processor time of a task that has held this strand or loop for more than a "
                   "millisecond, at most a millisecond too much.",
                   metrics::Type::kGauge,
                   [this] { return static_cast<double>(longest_on_processor_ns()) * 1e-9; },
                   {{"executor", executor}});
  metrics.callback("quoin_executor_long_tasks_total",
                   "Tasks that have held this strand or loop for more than a millisecond.",
                   metrics::Type::kCounter, [this] { return static_cast<double>(over_limit()); },
                   {{"executor", executor}});
}

void mark_timers_thread() {
  in_timers_thread = true;
}

DiskThread::DiskThread(std::string name) : name_(std::move(name)), thread_([this] { run(); }) {}

DiskThread::~DiskThread() {
  stop();
}

void DiskThread::post(Task task) {
  {
    std::lock_guard lock(mutex_);
    CHECK(!stopping_ || current_disk_thread == this, "{}: work after stop", name_);
    queue_.push_back(std::move(task));
    queued_.store(queue_.size(), std::memory_order_relaxed);
    if (queue_.size() > 1) return;  // already woken
  }
  if (current_disk_thread != this) wake_.notify_one();
}

bool DiskThread::running_here() const {
  return current_disk_thread == this;
}

void DiskThread::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

bool DiskThread::current_has_backlog() {
  DiskThread* t = current_disk_thread;
  if (t == nullptr) return false;
  return t->running_left_ > 0 || t->queued_.load(std::memory_order_relaxed) > 0;
}

void DiskThread::run() {
  current_disk_thread = this;
  pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  std::vector<Task> batch;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      batch.swap(queue_);
      queued_.store(0, std::memory_order_relaxed);
    }
    running_left_ = batch.size();
    for (Task& task : batch) {
      --running_left_;
      std::move(task)();
      task = nullptr;
    }
    batch.clear();
  }
}

// Strands that became runnable on this thread while another strand's task was running here. They may have
// been taken over by another thread when their turn comes.
struct InlineRunner {
  bool running = false;
  std::vector<InlineStrand*> waiting;

  // Runs a strand that the caller has claimed, and those that wait for it.
  void run(InlineStrand* strand) {
    running = true;
    strand->drain();
    while (!waiting.empty()) {
      strand = waiting.front();
      waiting.erase(waiting.begin());
      if (!strand->may_run_here()) {
        strand->post_to_fallback();
      } else if (strand->claim()) {
        strand->drain();
      }
    }
    running = false;
  }
  void add(InlineStrand* strand) {
    if (std::find(waiting.begin(), waiting.end(), strand) == waiting.end()) waiting.push_back(strand);
  }
  static InlineRunner& local() {
    thread_local InlineRunner runner;
    return runner;
  }
};

bool InlineStrand::may_run_here() const {
  if (in_timers_thread && !options_.in_timers_thread) return false;
  return !DiskThread::current_has_backlog();
}

void InlineStrand::post(Task task) {
  InlineRunner& here = InlineRunner::local();
  const bool may_run = may_run_here();
  bool to_fallback = false;
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(task));
    if (state_ == State::kRunning) return;
    if (may_run && !here.running) {
      state_ = State::kRunning;
    } else if (state_ == State::kWaiting) {
      return;
    } else if (may_run) {
      state_ = State::kWaiting;
      here.add(this);
      return;
    } else {
      state_ = State::kWaiting;
      to_fallback = true;
    }
  }
  if (to_fallback) return post_to_fallback();
  here.run(this);
}

void InlineStrand::post_to_fallback() {
  {
    std::lock_guard lock(mutex_);
    if (state_ != State::kWaiting || std::exchange(with_fallback_, true)) return;
  }
  fallback_.post([this] {
    {
      std::lock_guard lock(mutex_);
      with_fallback_ = false;
      if (state_ != State::kWaiting) return;
      // Inside another strand's task only if the fallback runs tasks in post(); no such executor is used.
      state_ = State::kRunning;
    }
    InlineRunner::local().run(this);
  });
}

bool InlineStrand::claim() {
  std::lock_guard lock(mutex_);
  if (state_ != State::kWaiting) return false;
  state_ = State::kRunning;
  return true;
}

bool InlineStrand::running_here() const {
  return runner_.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

void InlineStrand::drain() {
  runner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  const io::MonotonicNs begin = TaskMeter::now();
  TaskMeter::before_tasks(begin);  // this thread may have waited for a disk, and written to it
  io::MonotonicNs now = begin;
  for (int n = 0;; ++n) {
    const bool spent =
        n >= kStepBudget || now - begin > kTimeBudgetNs || (n > 0 && DiskThread::current_has_backlog());
    if (next_ == batch_.size() || spent) {
      std::lock_guard lock(mutex_);
      if (next_ == batch_.size()) {
        batch_.clear();
        next_ = 0;
        batch_.swap(queue_);
      }
      if (batch_.empty() || spent) {
        runner_.store({}, std::memory_order_relaxed);
        state_ = batch_.empty() ? State::kIdle : State::kWaiting;
        if (batch_.empty()) return;
        break;
      }
    }
    {
      Task task = std::move(batch_[next_++]);
      std::move(task)();
    }
    const io::MonotonicNs end = TaskMeter::now();
    meter_.took(now, end);
    now = end;
  }
  post_to_fallback();
}

}  // namespace quoin::posix
