// A loop owns connections: an executor that works in rounds.
//
// One round: look at the sockets; run what was posted before the round's tasks began; run the ends of the
// round. post() from the loop itself therefore never runs before the sockets were looked at again: work in
// steps posts its next step and keeps nobody waiting. Where many tasks together take long, a loop may look at
// its sockets in between; the tasks keep their order.
#pragma once
#include <utility>

#include "io/executor.h"

namespace quoin::io {

class Loop : public Executor {
 public:
  // Runs `task` once, after the callbacks and tasks of the current round, before the loop waits again ("one
  // wake-up per batch": what one round produced is handed on once). Called from this loop only. What these
  // tasks add belongs to the same round. A chain that goes on is carried over to the next after a few passes,
  // and so is what is left when the ends of one round take long.
  virtual void at_end_of_round(Task task) = 0;
};

}  // namespace quoin::io
