// A loop owns connections: an executor that also tells when a round of input is over, so that what one round
// produced is handed on once ("one wake-up per batch").
#pragma once
#include <utility>

#include "io/executor.h"

namespace quoin::io {

class Loop : public Executor {
 public:
  // Runs `task` once, after the callbacks and tasks of the current round, before the loop waits again. Called
  // from this loop only. Tasks added while these run belong to the same round.
  virtual void at_end_of_round(Task task) = 0;
  // Runs `task` after the loop has looked at its sockets again: for work in steps that must not keep others
  // waiting, which a task posted from the loop itself may do. Called from this loop only.
  virtual void in_next_round(Task task) { post(std::move(task)); }
};

}  // namespace quoin::io
