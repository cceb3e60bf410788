// Work of one loop that takes more than one step: one step, then the loop looks at its sockets again.
//
// Work that is not done adds its next step behind the steps of other work. So all of it makes progress, and
// any other request of the loop waits for one step only. A step does at most about a millisecond of work:
// each kind of work states its bound in records and bytes.
//
// Threads: confined to its loop. Bound: each step belongs to a call in progress, or to a connection whose
// input waits; either adds at most one.
#pragma once
#include <absl/functional/any_invocable.h>

#include <deque>
#include <utility>

#include "io/loop.h"

namespace quoin::grpc {

class Turns {
 public:
  // `loop` runs none of its tasks any more once this is destroyed.
  explicit Turns(io::Loop& loop) : loop_(loop) {}

  // A step must do nothing if its call has ended (v3rpc/call_ref.h) or its connection is gone.
  void add(absl::AnyInvocable<void()> step) {
    steps_.push_back(std::move(step));
    schedule();
  }
  size_t waiting() const { return steps_.size(); }

 private:
  void schedule() {
    if (steps_.empty() || std::exchange(scheduled_, true)) return;
    // The loop looks at its sockets before it runs what it posted to itself.
    loop_.post([this] {
      scheduled_ = false;
      auto step = std::move(steps_.front());
      steps_.pop_front();
      step();
      schedule();
    });
  }

  io::Loop& loop_;
  std::deque<absl::AnyInvocable<void()>> steps_;
  bool scheduled_ = false;
};

}  // namespace quoin::grpc
