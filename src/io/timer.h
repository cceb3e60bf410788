// One-shot timers that fire as tasks of an executor.
//
// Threads: schedule() and Timer's methods may be called on any thread. The callback runs on the executor
// given to schedule(). cancel() called from that executor guarantees the callback does not run afterwards;
// from elsewhere it may be running already.
#pragma once
#include <memory>

#include "base/task.h"
#include "io/clock.h"
#include "io/executor.h"

namespace quoin::io {

class Timer {
 public:
  virtual ~Timer() = default;  // cancels
  virtual void cancel() = 0;
};

class TimerService {
 public:
  virtual ~TimerService() = default;
  // Runs `task` on `executor` once `delay_ns` have passed (at once if <= 0, still as a posted task).
  // Dropping the returned timer cancels it.
  [[nodiscard]] virtual std::unique_ptr<Timer> schedule(int64_t delay_ns, Executor& executor, Task task) = 0;
};

}  // namespace quoin::io
