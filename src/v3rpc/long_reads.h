// The reads of one loop that take more than one step: each step is a turn of the loop (turns.h), so another
// call waits for one step however many reads there are.
//
// Threads: confined to its loop. Bound: what a read has found so far counts as an answer of its connection
// and in the process's MemoryBudget. While that is exceeded only the oldest read of the loop goes on and the
// others wait, so all loops together hold the budget, one step of each read and one answer a loop. A read
// is never refused for it. The gauge quoin_long_reads_waiting tells how many wait; a warning is written
// when they begin to.
#pragma once
#include <absl/functional/any_invocable.h>

#include <deque>
#include <memory>

#include "server/range_steps.h"
#include "v3rpc/gate.h"

namespace quoin::v3rpc {

class LongReads {
 public:
  // Told once the read is complete (null) or has failed. It answers the call. Not told of a call that ended
  // meanwhile.
  using Done = absl::AnyInvocable<void(grpc::Call&, server::SteppedRead&, const Error*)>;

  explicit LongReads(Loop& loop) : loop_(loop) {}
  ~LongReads();

  // Goes on with a read whose first step is done.
  void add(grpc::Call& call, std::unique_ptr<server::SteppedRead> read, Done done);
  // Answers a unary call with a read that is complete.
  void respond(grpc::Call& call, server::SteppedRead& read);
  size_t size() const { return readings_.size(); }
  // Whether this call's read goes on. Looks at all of them: for what is rare.
  bool reading(const grpc::Call& call) const;

 private:
  struct Reading {
    CallRef call;
    uint64_t age;  // the oldest has the least
    std::unique_ptr<server::SteppedRead> read;
    Done done;
  };
  void want_turn();
  void take_turn();
  void step(grpc::Call& call, Reading reading);
  // The next one to go on, taken out. Over the budget the oldest, else in turns.
  Reading next();
  void tell_waiting(size_t waiting);

  Loop& loop_;
  std::deque<Reading> readings_;
  uint64_t next_age_ = 0;
  size_t waiting_ = 0;
  bool turn_wanted_ = false;
};

}  // namespace quoin::v3rpc
