// Bounds how long the end of the process takes, whatever clients, disks, queues and the log's reader do.
//
// A stop waits for clients, the member, peers, threads and the log, each of which has a bound of its own or
// should have. This guard is the last bound: when the time is over, it logs what the process still waits for
// and ends the process with the same exit code as a complete stop. What was acknowledged is on disk by then.
//
// Threads: begin() and waits_for() on the one that stops the process. `log` outlives the guard or ends before
// it with forget_log().
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "base/log.h"

namespace quoin::cmd {

class StopGuard {
 public:
  // `flush` waits until what was logged is written; it may hang.
  StopGuard(log::Logger& log, std::function<void()> flush) : state_(std::make_shared<State>()) {
    state_->log = &log;
    state_->flush = std::move(flush);
  }

  // From now on the process ends after `ns` at the latest. Called once; later calls change nothing.
  void begin(int64_t ns, std::function<void()> end);
  // What the stop waits for from now on, in words for the log. A literal.
  void waits_for(const char* what);
  // The log ends: nothing is written to it any more.
  void forget_log();
  // The stop is complete. Only tests call it; a process simply ends.
  void cancel();

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    log::Logger* log = nullptr;
    std::function<void()> flush;
    const char* waits_for = "nothing";
    bool begun = false, told = false, cancelled = false;
  };
  // Of the thread that waits as well: it is never joined.
  const std::shared_ptr<State> state_;
};

}  // namespace quoin::cmd
