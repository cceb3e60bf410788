// Where a strand's work runs.
//
// An Executor runs tasks one at a time, in the order posted: it is the owner of whatever its tasks touch, and
// those objects need no lock. A strand (design.md section 1) is a state machine bound to one Executor; it
// never blocks and does not know which thread it is on.
//
// Implementations: posix has a thread that waits for disks (append, file), a loop (clients, peers), and an
// inline strand (raft, apply: runs in whoever posts when idle, within a step budget, else on a loop). sim
// runs all executors in one thread in an order drawn from the seed, and never inline.
//
// Threads: post() may be called on any thread. A task may run inside post() (inline strand), so a caller must
// not hold a lock or be in the middle of changing state that the task could reach.
// Bounds: an executor does not bound its queue. Each poster bounds the number of its tasks that have not run
// yet.
#pragma once
#include "base/task.h"

namespace quoin::io {

class Executor {
 public:
  virtual ~Executor() = default;
  virtual void post(Task task) = 0;
  // True when called from within one of this executor's tasks; for DCHECKs of ownership.
  virtual bool running_here() const = 0;
};

}  // namespace quoin::io
