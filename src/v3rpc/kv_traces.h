// What the lines `trace[<n>] ...` say of a client's Range, Put, Txn and Compact (server/slow_trace.h). As in etcd, a
// DeleteRange leaves none, nor a write that was refused.
//
// Steps have etcd's names where there are such steps. The index and the records are read in one walk here, and a write
// is one step in apply; both are called by the step of etcd's that most of their time would go to.
// Threads: the call's loop. `bytes`: the request. Times are the loop's monotonic ones, 0 for what did not happen.
#pragma once
#include <string_view>

#include "server/range_steps.h"
#include "v3rpc/gate.h"

namespace quoin::v3rpc {

struct ReadTimes {
  io::MonotonicNs agreed = 0;  // when a linearizable read knew the index to wait for as applied
  io::MonotonicNs begun = 0;   // when the caller's rights were known
  io::MonotonicNs ended = 0;
};

// `range`: null if nothing was read.
void trace_range(Loop& loop, const grpc::Call& call, std::string_view bytes, const ReadTimes& times,
                 const server::RangeSteps* range);
// `txn`: null if it failed.
void trace_read_txn(Loop& loop, const grpc::Call& call, const ReadTimes& times,
                    const server::SteppedTxn* txn);

// Of writes that succeeded; `now`: when the loop had the answer.
using TraceWrite = void(Loop& loop, const grpc::Call& call, std::string_view bytes,
                        const server::Answer& answer, io::MonotonicNs now);
TraceWrite trace_put, trace_txn, trace_compact;

}  // namespace quoin::v3rpc
