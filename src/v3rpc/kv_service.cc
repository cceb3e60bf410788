#include "v3rpc/kv_service.h"

#include "server/quota.h"
#include "server/range_steps.h"
#include "server/txn.h"
#include "v3rpc/checks.h"
#include "v3rpc/range_stream.h"

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;

void propose(Loop& loop, grpc::Call& call, uint64_t id, Blob request) {
  loop.port.propose(id, std::move(request), [&loop, call_id = call.id()](server::Answer answer) {
    if (grpc::Call* c = loop.calls.find(call_id)) respond(*c, loop.member, answer);
  });
}

bool quota_admits(Loop& loop, grpc::Call& call, uint64_t cost) {
  if (loop.member.quota_allows(cost)) return true;
  pb::AlarmRequest alarm;
  alarm.member_id = loop.member.id().v;
  alarm.action = pb::AlarmRequest::AlarmAction::kActivate;
  alarm.alarm = pb::AlarmType::kNospace;
  const uint64_t id = loop.member.next_id();
  loop.port.propose(id, raft_request(id, raft_field::kAlarm, alarm),
                    [&loop, call_id = call.id()](server::Answer) {
                      if (grpc::Call* c = loop.calls.find(call_id)) c->fail(Error(Code::kNoSpace));
                    });
  return false;
}

struct KvService::Handlers {
  Unary range, put, delete_range, txn, compact;
  RangeStreamHandler range_stream;
};

KvService::KvService(Loop& loop, Gate& gate, grpc::MethodTable& methods)
    : loop_(loop),
      long_reads_(loop),
      // A learner may serve serializable Ranges; which one it is, the request says.
      handlers_(new Handlers{
          Unary(gate, true, [this](grpc::Call& c, std::string_view r) { range(c, r); }),
          Unary(gate, false, [this](grpc::Call& c, std::string_view r) { put(c, r); }),
          Unary(gate, false, [this](grpc::Call& c, std::string_view r) { delete_range(c, r); }),
          Unary(gate, false, [this](grpc::Call& c, std::string_view r) { txn(c, r); }),
          Unary(gate, false, [this](grpc::Call& c, std::string_view r) { compact(c, r); }),
          RangeStreamHandler(loop, gate),
      }) {
  constexpr std::string_view kService = "etcdserverpb.KV";
  methods.add_unary(kService, "Range", handlers_->range);
  methods.add_unary(kService, "Put", handlers_->put);
  methods.add_unary(kService, "DeleteRange", handlers_->delete_range);
  methods.add_unary(kService, "Txn", handlers_->txn);
  methods.add_unary(kService, "Compact", handlers_->compact);
  methods.add_stream(kService, "RangeStream", grpc::MethodKind::kServerStream, handlers_->range_stream);
}

KvService::~KvService() = default;

void KvService::range(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::RangeRequest>(call, bytes);
  if (!request) return;
  if (loop_.member.learner() && !request->serializable)
    return call.fail(Error(Code::kNotSupportedForLearner));
  if (Result<> ok = check_range(*request); !ok) return call.fail(ok.error());
  if (request->serializable) return answer_range(call, bytes);
  loop_.port.read_index([this, id = call.id(), bytes](Result<> confirmed) {
    grpc::Call* c = loop_.calls.find(id);
    if (c == nullptr) return;
    if (!confirmed) return c->fail(confirmed.error());
    answer_range(*c, bytes);
  });
}

void KvService::answer_range(grpc::Call& call, std::string_view bytes) {
  // Decoded a second time: cheaper than carrying the message through the wait.
  const pb::RangeRequest request = *wire::decode<pb::RangeRequest>(bytes);
  const io::MonotonicNs start = loop_.clock.monotonic();
  auto range = server::RangeSteps::start(loop_.member.view(), request);
  server::StepBudget budget;
  const Result<bool> done = range ? range->step(&budget) : Result<bool>(range.error());
  if (done && !*done) {
    return long_reads_.add(
        call, std::make_unique<server::SteppedRange>(std::move(*range)),
        [this, start](grpc::Call&, const Result<>& result) { note_range(start, result.has_value()); });
  }
  note_range(start, done.has_value());
  if (!done) return call.fail(done.error());
  respond(call, loop_.member, range->header_revision(), range->response());
}

void KvService::note_range(io::MonotonicNs start, bool success) {
  metrics::Histogram*& seconds = success ? range_ok_ : range_failed_;
  if (seconds == nullptr) seconds = &loop_.metrics.range_seconds(success);
  seconds->observe(static_cast<double>(loop_.clock.monotonic() - start) / 1e9);
}

void KvService::put(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::PutRequest>(call, bytes);
  if (!request || !quota_admits(loop_, call, server::put_cost(*request))) return;
  if (Result<> ok = check_put(*request); !ok) return call.fail(ok.error());
  const uint64_t id = loop_.member.next_id();
  propose(loop_, call, id, raft_request(id, raft_field::kPut, *request));
}

void KvService::delete_range(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::DeleteRangeRequest>(call, bytes);
  if (!request) return;
  if (Result<> ok = check_delete_range(*request); !ok) return call.fail(ok.error());
  const uint64_t id = loop_.member.next_id();
  propose(loop_, call, id, raft_request(id, raft_field::kDeleteRange, *request));
}

void KvService::txn(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::TxnRequest>(call, bytes);
  if (!request || !quota_admits(loop_, call, server::txn_cost(*request))) return;
  if (Result<> ok = check_txn(*request, loop_.member.config().max_txn_ops); !ok) return call.fail(ok.error());
  if (!server::is_read_only(*request)) {
    const uint64_t id = loop_.member.next_id();
    return propose(loop_, call, id, raft_request(id, raft_field::kTxn, *request));
  }
  if (server::is_serializable(*request)) return answer_read_only_txn(call, bytes);
  loop_.port.read_index([this, id = call.id(), bytes](Result<> confirmed) {
    grpc::Call* c = loop_.calls.find(id);
    if (c == nullptr) return;
    if (!confirmed) return c->fail(confirmed.error());
    answer_read_only_txn(*c, bytes);
  });
}

void KvService::answer_read_only_txn(grpc::Call& call, std::string_view bytes) {
  const pb::TxnRequest request = *wire::decode<pb::TxnRequest>(bytes);
  auto txn = server::SteppedTxn::start(loop_.member.view(), request);
  const Result<bool> done = txn ? (*txn)->step({}) : Result<bool>(txn.error());
  if (!done) return call.fail(done.error());
  if (!*done) return long_reads_.add(call, std::move(*txn), [](grpc::Call&, const Result<>&) {});
  pb::TxnResponse response = (*txn)->response();
  respond(call, loop_.member, (*txn)->header_revision(), response);
}

void KvService::compact(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::CompactionRequest>(call, bytes);
  if (!request) return;
  const uint64_t id = loop_.member.next_id();
  propose(loop_, call, id, raft_request(id, raft_field::kCompaction, *request));
}

}  // namespace quoin::v3rpc
