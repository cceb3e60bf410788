// Waiting for a member, for the thread that owns it: until it is ready, until it must end, until a task is
// done.
#pragma once
#include <condition_variable>
#include <mutex>
#include <optional>

#include "base/result.h"
#include "base/task.h"

namespace quoin::cmd {

// The first thing that ends the process, a signal or a reason why the member can't go on; before it, the
// moment at which the member is ready. Any thread.
class Ending {
 public:
  void ready() {
    std::lock_guard lock(mutex_);
    ready_ = true;
    changed_.notify_all();
  }
  void signal(int number) {
    std::lock_guard lock(mutex_);
    if (signal_ == 0 && !failure_) signal_ = number;
    changed_.notify_all();
  }
  void fail(Error error) {
    std::lock_guard lock(mutex_);
    if (!failure_ && signal_ == 0) failure_ = std::move(error);
    changed_.notify_all();
  }
  // True when ready, false if it ended before.
  bool wait_ready() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ready_ || signal_ != 0 || failure_; });
    return ready_;
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return signal_ != 0 || failure_; });
  }
  int signal_number() {
    std::lock_guard lock(mutex_);
    return signal_;
  }
  std::optional<Error> failure() {
    std::lock_guard lock(mutex_);
    return failure_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ready_ = false;
  int signal_ = 0;
  std::optional<Error> failure_;
};

// A task's end, for the thread that waits for it.
class Latch {
 public:
  Task done() {
    return [this] {
      std::lock_guard lock(mutex_);
      set_ = true;
      changed_.notify_all();
    };
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

}  // namespace quoin::cmd
