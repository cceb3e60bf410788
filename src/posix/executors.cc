#include "posix/executors.h"

#include <pthread.h>

#include "base/check.h"

namespace quoin::posix {
namespace {
thread_local DiskThread* current_disk_thread = nullptr;
}  // namespace

DiskThread::DiskThread(std::string name) : name_(std::move(name)), thread_([this] { run(); }) {}

DiskThread::~DiskThread() {
  stop();
}

void DiskThread::post(Task task) {
  {
    std::lock_guard lock(mutex_);
    CHECK(!stopping_ || current_disk_thread == this, "{}: work after stop", name_);
    queue_.push_back(std::move(task));
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
  if (t->running_left_ > 0) return true;
  std::lock_guard lock(t->mutex_);
  return !t->queue_.empty();
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

// Strands that became runnable on this thread while another strand's task was running here.
struct InlineRunner {
  bool running = false;
  std::vector<InlineStrand*> waiting;

  void run(InlineStrand* strand) {
    if (running) {
      waiting.push_back(strand);
      return;
    }
    running = true;
    for (;;) {
      if (!strand->drain()) {
        strand->fallback_.post([strand] { local().run(strand); });
      }
      if (waiting.empty()) break;
      strand = waiting.front();
      waiting.erase(waiting.begin());
    }
    running = false;
  }
  static InlineRunner& local() {
    thread_local InlineRunner runner;
    return runner;
  }
};

void InlineStrand::post(Task task) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(task));
    if (active_) return;
    active_ = true;
  }
  if (DiskThread::current_has_backlog()) {
    fallback_.post([this] { InlineRunner::local().run(this); });
  } else {
    InlineRunner::local().run(this);
  }
}

bool InlineStrand::running_here() const {
  return runner_.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

bool InlineStrand::drain() {
  runner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  int left = kStepBudget;
  std::vector<Task> batch;
  for (;;) {
    {
      std::lock_guard lock(mutex_);
      if (queue_.empty()) {
        runner_.store({}, std::memory_order_relaxed);
        active_ = false;
        return true;
      }
      if (left <= 0) {
        runner_.store({}, std::memory_order_relaxed);
        return false;
      }
      batch.swap(queue_);
    }
    left -= static_cast<int>(batch.size());
    for (Task& task : batch) {
      std::move(task)();
      task = nullptr;
    }
    batch.clear();
  }
}

}  // namespace quoin::posix
