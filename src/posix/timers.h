// Timers of the real machine: one thread that sleeps until the next one is due and posts its task.
//
// Meant for ticks, intervals and deadlines of stages: a few hundred at a time. Per-request deadlines are kept
// in wheels by their owners, which need one timer each.
//
// Posting to an inline strand that allows it (StrandOptions::in_timers_thread: raft) runs the task in this
// thread; every other executor takes it elsewhere, so no timer waits for what another one started.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "io/timer.h"

namespace quoin::posix {

class ThreadTimers final : public io::TimerService {
 public:
  explicit ThreadTimers(io::Clock& clock);
  ~ThreadTimers() override;
  std::unique_ptr<io::Timer> schedule(int64_t delay_ns, io::Executor& executor, Task task) override;
  // Ends the thread; pending timers never fire.
  void stop();

 private:
  struct State;
  class Handle;
  void run();
  io::Clock& clock_;
  std::mutex mutex_;
  std::condition_variable wake_;
  // Ordered by (due, sequence). Guarded by mutex_.
  std::map<std::pair<int64_t, uint64_t>, std::shared_ptr<State>> due_;
  uint64_t sequence_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace quoin::posix
