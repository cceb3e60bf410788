// The reads of one loop that take more than one step: each step is a turn (turns.h), so another call waits
// for one step however many reads there are.
//
// Threads: confined to its loop. Bound: a read belongs to a call in progress, of which each connection bounds
// the number and bytes; what a read has found so far counts as an answer of its connection.
#pragma once
#include <absl/functional/any_invocable.h>

#include <memory>

#include "server/range_steps.h"
#include "v3rpc/gate.h"

namespace quoin::v3rpc {

class LongReads {
 public:
  // Told once the read is complete (null) or has failed, before the call is answered. Not told of a call that
  // ended meanwhile.
  using Done = absl::AnyInvocable<void(grpc::Call&, const Error*)>;

  explicit LongReads(Loop& loop) : loop_(loop) {}

  // Goes on with a read whose first step is done, and answers the call.
  void add(grpc::Call& call, std::unique_ptr<server::SteppedRead> read, Done done);

 private:
  struct Reading {
    CallRef call;
    std::unique_ptr<server::SteppedRead> read;
    Done done;
  };
  void take_turn(Reading reading);
  void step(grpc::Call& call, Reading reading);

  Loop& loop_;
};

}  // namespace quoin::v3rpc
