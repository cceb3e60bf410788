#include "v3rpc/kv_traces.h"

#include <algorithm>

#include "server/slow_trace.h"

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;
using server::TraceFields;

namespace {
constexpr std::string_view kAgreement = "agreement among raft nodes before linearized reading",
                           kAuth = "get authentication metadata",
                           kCount = "count revisions from in-memory index tree",
                           kRead = "range keys from bolt db", kRaft = "process raft request",
                           kStore = "store kv pair into bolt db";

bool puts(const absl::InlinedVector<pb::RequestOp, 1>& ops) {
  return std::any_of(ops.begin(), ops.end(), [](const pb::RequestOp& op) {
    const auto* nested = op.request_txn();
    return op.request_put() != nullptr ||
           (nested != nullptr && (puts(nested->success) || puts(nested->failure)));
  });
}

int64_t revision_of(const Loop& loop, const server::Answer& answer) {
  return answer.revision != 0 ? answer.revision : loop.member.revision();
}
}  // namespace

void trace_range(Loop& loop, const grpc::Call& call, std::string_view bytes, const ReadTimes& times,
                 const server::RangeSteps* range) {
  const pb::RangeRequest request = *wire::decode<pb::RangeRequest>(bytes);
  TraceFields detail;
  detail.add("range_begin", request.key).add("range_end", request.range_end);
  if (range != nullptr) {
    detail.add("response_count", static_cast<int64_t>(range->kvs()))
        .add("response_revision", range->header_revision());
  }
  log_trace(loop.log, loop.clock, "range", detail, call.started(), times.ended,
            {{kAgreement, times.agreed},
             {kAuth, times.begun},
             {request.count_only ? kCount : kRead, times.begun != 0 ? times.ended : 0}});
}

void trace_read_txn(Loop& loop, const grpc::Call& call, const ReadTimes& times,
                    const server::SteppedTxn* txn) {
  TraceFields detail;
  detail.add("read_only", "true");
  if (txn != nullptr) {
    detail.add("number_of_response", static_cast<int64_t>(txn->ranges().size()))
        .add("response_revision", txn->header_revision());
  }
  log_trace(loop.log, loop.clock, "transaction", detail, call.started(), times.ended,
            {{kAgreement, times.agreed}, {kAuth, times.begun}, {kRead, times.begun != 0 ? times.ended : 0}});
}

void trace_put(Loop& loop, const grpc::Call& call, std::string_view bytes, const server::Answer& answer,
               io::MonotonicNs now) {
  const pb::PutRequest request = *wire::decode<pb::PutRequest>(bytes);
  log_trace(loop.log, loop.clock, "put",
            TraceFields()
                .add("key", request.key)
                .add("req_size", static_cast<int64_t>(encoded_size(request)))
                .add("response_revision", revision_of(loop, answer)),
            call.started(), now, {{kRaft, answer.apply_began}, {kStore, answer.apply_ended}});
}

void trace_txn(Loop& loop, const grpc::Call& call, std::string_view bytes, const server::Answer& answer,
               io::MonotonicNs now) {
  const pb::TxnRequest request = *wire::decode<pb::TxnRequest>(bytes);
  const auto& branch = answer.count != 0 ? request.success : request.failure;
  TraceFields detail;
  detail.add("read_only", "false");
  // In etcd the first put adds the revision; without one it comes at the end.
  const bool early = puts(branch);
  if (early) detail.add("response_revision", revision_of(loop, answer));
  detail.add("number_of_response", static_cast<int64_t>(branch.size()));
  if (!early) detail.add("response_revision", revision_of(loop, answer));
  log_trace(loop.log, loop.clock, "transaction", detail, call.started(), now,
            {{kRaft, answer.apply_began}, {kStore, answer.apply_ended}});
}

void trace_compact(Loop& loop, const grpc::Call& call, std::string_view bytes, const server::Answer& answer,
                   io::MonotonicNs now) {
  const pb::CompactionRequest request = *wire::decode<pb::CompactionRequest>(bytes);
  log_trace(
      loop.log, loop.clock, "compact",
      TraceFields().add("revision", request.revision).add("response_revision", revision_of(loop, answer)),
      call.started(), now,
      {{kRaft, answer.apply_began},
       {request.physical ? "physically toApply compaction" : "schedule compaction", answer.apply_ended}});
}

}  // namespace quoin::v3rpc
