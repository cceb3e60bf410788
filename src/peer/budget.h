// Bytes that were received and are not taken by raft yet.
//
// Threads: charge() and when_below() on the peer loop; a Charge is dropped on any thread, also when the loop has
// ended, if stop() was called before.
#pragma once
#include <memory>
#include <mutex>

#include "base/metrics.h"
#include "base/task.h"
#include "io/executor.h"
#include "server/peers.h"

namespace quoin::peer {

class Budget : public std::enable_shared_from_this<Budget> {
 public:
  // `gauge` shows the bytes of all budgets that share it, and outlives them.
  Budget(io::Executor& loop, metrics::Gauge& gauge) : loop_(&loop), gauge_(gauge) {}

  server::Charge charge(size_t bytes, size_t messages = 1);
  size_t held() const { return held_; }
  size_t messages() const { return messages_; }
  // Runs `room` once, as a task of the loop, when held() is at most `bytes`. Only one may wait.
  void when_below(size_t bytes, Task room);
  // On the loop: `room` does not run any more, not even where its task is posted already, and the loop is not
  // touched.
  void stop();

 private:
  void release(size_t bytes, size_t messages);
  void wake();
  void run_room();

  std::atomic<size_t> held_{0}, messages_{0};
  std::atomic<bool> waiting_{false};
  std::mutex mutex_;    // guards what follows
  io::Executor* loop_;  // null: stopped
  size_t mark_ = 0;
  Task room_;
  metrics::Gauge& gauge_;
};

}  // namespace quoin::peer
