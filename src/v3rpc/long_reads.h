// The reads of one loop that take more than one step, in turns: one step of one read, then the loop looks at
// its sockets again. However many there are, another call waits for one step.
//
// Threads: confined to its loop. Bound: a read belongs to a call in progress, of which each connection bounds
// the number and bytes; what a read has found so far counts as an answer of its connection.
#pragma once
#include <absl/functional/any_invocable.h>

#include <deque>
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
    grpc::CallId call;
    std::unique_ptr<server::SteppedRead> read;
    Done done;
  };
  void schedule();
  void step();

  Loop& loop_;
  std::deque<Reading> readings_;
  bool scheduled_ = false;
};

}  // namespace quoin::v3rpc
