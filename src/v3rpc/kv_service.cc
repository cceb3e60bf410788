#include "v3rpc/kv_service.h"

#include "server/quota.h"
#include "server/range_steps.h"
#include "server/request_text.h"
#include "server/slow_trace.h"
#include "server/txn.h"
#include "v3rpc/checks.h"
#include "v3rpc/range_stream.h"

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;

namespace {
// A response's header as far as the read itself fills it in.
size_t revision_header_size(int64_t revision) {
  pb::ResponseHeader header;
  header.revision = revision;
  return wire::length_delimited_size(1, encoded_size(header));
}
bool is_serializable(std::string_view range) {
  return wire::decode<pb::RangeRequest>(range)->serializable;
}
}  // namespace

bool quota_admits(Loop& loop, grpc::Call& call, uint64_t cost) {
  if (loop.member.quota_allows(cost)) return true;
  pb::AlarmRequest alarm;
  alarm.member_id = loop.member.id().v;
  alarm.action = pb::AlarmRequest::AlarmAction::kActivate;
  alarm.alarm = pb::AlarmType::kNospace;
  const uint64_t id = loop.member.next_id();
  call.context = id;
  loop.port.propose(
      id, raft_request(id, raft_field::kAlarm, alarm),
      CallRef(call).then([](grpc::Call& c, const server::Answer&) { c.fail(Error(Code::kNoSpace)); }));
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
          Unary(
              gate, true, [this](grpc::Call& c, std::string_view r) { range(c, r); },
              [this](const grpc::Call& c, std::string_view r, grpc::CancelReason reason) {
                // One that is being read came further than is known here: its steps are not told.
                const io::MonotonicNs now = loop_.clock.monotonic();
                const bool waited = !long_reads_.reading(c) && !is_serializable(r);
                range_failed(c, r, {.agreed = waited ? now : 0, .ended = now},
                             Error(reason == grpc::CancelReason::kDeadline ? Code::kContextDeadlineExceeded
                                                                           : Code::kContextCanceled));
              }),
          Unary(gate, false, [this](grpc::Call& c, std::string_view r) { put(c, r); }),
          Unary(gate, false, [this](grpc::Call& c, std::string_view r) { delete_range(c, r); }),
          Unary(gate, false, [this](grpc::Call& c, std::string_view r) { txn(c, r); }),
          Unary(gate, false, [this](grpc::Call& c, std::string_view r) { compact(c, r); }),
          RangeStreamHandler(loop, gate, long_reads_),
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
  // The request's bytes live as long as the call.
  loop_.port.read_index(CallRef(call).then([this, bytes](grpc::Call& c, const Result<>& confirmed) {
    if (!confirmed) {
      const io::MonotonicNs now = loop_.clock.monotonic();
      range_failed(c, bytes, {.agreed = now, .ended = now}, confirmed.error());
      return c.fail(confirmed.error());
    }
    answer_range(c, bytes);
  }));
}

void KvService::answer_range(grpc::Call& call, std::string_view bytes) {
  if (!loop_.callers->enabled()) [[likely]]
    return read_range(call, bytes, nullptr, 0);
  const io::MonotonicNs agreed = loop_.clock.monotonic();
  loop_.callers->with_access(call, [this, bytes, agreed](grpc::Call& c, const Result<AccessRef>& access) {
    const pb::RangeRequest request = *wire::decode<pb::RangeRequest>(bytes);
    Result<> ok = access ? (*access)->read(request.key, request.range_end) : Result<>(access.error());
    if (ok) return read_range(c, bytes, *access, agreed);
    range_failed(c, bytes, {request.serializable ? 0 : agreed, 0, loop_.clock.monotonic()}, ok.error());
    c.fail(ok.error());
  });
}

ReadTimes KvService::begun(bool serializable, io::MonotonicNs agreed) {
  const io::MonotonicNs now = loop_.clock.monotonic();
  if (serializable) return {.begun = now};
  return {.agreed = agreed != 0 ? agreed : now, .begun = now};
}

// `access`: the rights under which it is read; null while auth is off.
void KvService::read_range(grpc::Call& call, std::string_view bytes, const AccessRef& access,
                           io::MonotonicNs agreed) {
  // Decoded a second time: cheaper than carrying the message through the wait.
  const pb::RangeRequest request = *wire::decode<pb::RangeRequest>(bytes);
  const ReadTimes times = begun(request.serializable, agreed);
  auto range = server::RangeSteps::start(loop_.member.view(), request);
  server::StepBudget budget;
  const Result<bool> done = range ? range->step(&budget) : Result<bool>(range.error());
  if (done && !*done) {
    auto stepped = std::make_unique<server::SteppedRange>(std::move(*range));
    server::RangeSteps* steps = &stepped->range();
    return long_reads_.add(
        call, std::move(stepped),
        [this, bytes, times, steps, access](grpc::Call& c, server::SteppedRead& read, const Error* error) {
          range_read(c, bytes, times, steps, error);
          if (error != nullptr) return c.fail(*error);
          if (Result<> ok = still_current(access); !ok) return c.fail(ok.error());
          long_reads_.respond(c, read);
        });
  }
  range_read(call, bytes, times, range ? &*range : nullptr, done ? nullptr : &done.error());
  if (!done) return call.fail(done.error());
  if (Result<> ok = still_current(access); !ok) return call.fail(ok.error());
  respond(call, loop_.member, range->header_revision(), range->response());
}

void KvService::range_read(grpc::Call& call, std::string_view bytes, ReadTimes times,
                           server::RangeSteps* range, const Error* error) {
  loop_.member.count_ranges(1);
  const io::MonotonicNs end = times.ended = loop_.clock.monotonic();
  metrics::Histogram*& seconds = error == nullptr ? range_ok_ : range_failed_;
  if (seconds == nullptr) seconds = &loop_.metrics.range_seconds(error == nullptr);
  seconds->observe(static_cast<double>(end - times.begun) / 1e9);
  if (error != nullptr) return range_failed(call, bytes, times, *error);
  call.context = static_cast<uint64_t>(range->response().count);
  server::SlowRequests& slow = loop_.member.slow_requests();
  // Since it came: the wait for the round of a linearizable read counts.
  if (server::slow_trace(end - call.started())) trace_range(loop_, call, bytes, times, range);
  if (!slow.slow(end - call.started())) [[likely]]
    return;
  const std::string response =
      fmt::format("range_response_count:{} size:{}", range->kvs(),
                  revision_header_size(range->header_revision()) + range->encoded_size());
  slow.warn(end - call.started(), "read-only range ",
            server::request_text(*wire::decode<pb::RangeRequest>(bytes)), response, nullptr);
}

void KvService::range_failed(const grpc::Call& call, std::string_view bytes, const ReadTimes& times,
                             const Error& error) {
  const int64_t took_ns = times.ended - call.started();
  if (server::slow_trace(took_ns)) trace_range(loop_, call, bytes, times, nullptr);
  server::SlowRequests& slow = loop_.member.slow_requests();
  if (!slow.slow(took_ns)) return;
  slow.warn(took_ns, "read-only range ", server::request_text(*wire::decode<pb::RangeRequest>(bytes)), "",
            &error);
}

void KvService::put(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::PutRequest>(call, bytes);
  if (!request || !quota_admits(loop_, call, server::put_cost(*request))) return;
  if (Result<> ok = check_put(*request); !ok) return call.fail(ok.error());
  write(call, raft_field::kPut, *request, bytes, trace_put);
}

template <class Request>
void KvService::write(grpc::Call& call, uint32_t field, const Request& request, std::string_view bytes,
                      TraceWrite* trace) {
  propose_then(loop_, call, field, request,
               [this, bytes, trace](grpc::Call& c, const server::Answer& answer) {
                 // The request's bytes live as long as the call.
                 const io::MonotonicNs now = loop_.clock.monotonic();
                 if (server::slow_trace(now - c.started()) && !answer.error) [[unlikely]]
                   trace(loop_, c, bytes, answer, now);
                 respond(c, loop_.member, answer);
               });
}

void KvService::delete_range(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::DeleteRangeRequest>(call, bytes);
  if (!request) return;
  if (Result<> ok = check_delete_range(*request); !ok) return call.fail(ok.error());
  propose(loop_, call, raft_field::kDeleteRange, *request);
}

void KvService::txn(grpc::Call& call, std::string_view bytes) {
  const uint64_t max_ops = loop_.member.config().max_txn_ops;
  if (has_too_many_ops(bytes, max_ops)) [[unlikely]]
    return call.fail(Error(Code::kTooManyOps));
  auto request = decode_or_fail<pb::TxnRequest>(call, bytes);
  if (!request || !quota_admits(loop_, call, server::txn_cost(*request))) return;
  if (Result<> ok = check_txn(*request, max_ops); !ok) return call.fail(ok.error());
  if (!server::is_read_only(*request)) return write(call, raft_field::kTxn, *request, bytes, trace_txn);
  if (server::is_serializable(*request)) return answer_read_only_txn(call, bytes);
  loop_.port.read_index(CallRef(call).then([this, bytes](grpc::Call& c, const Result<>& confirmed) {
    if (!confirmed) return c.fail(confirmed.error());
    answer_read_only_txn(c, bytes);
  }));
}

void KvService::answer_read_only_txn(grpc::Call& call, std::string_view bytes) {
  if (!loop_.callers->enabled()) [[likely]]
    return read_txn(call, bytes, nullptr, 0);
  const io::MonotonicNs agreed = loop_.clock.monotonic();
  auto txn = std::make_shared<const pb::TxnRequest>(*wire::decode<pb::TxnRequest>(bytes));
  loop_.callers->with_txn_access(
      call, *txn, [this, bytes, txn, agreed](grpc::Call& c, const Result<AccessRef>& access) {
        if (access) return read_txn(c, bytes, *access, agreed);
        const ReadTimes times = {server::is_serializable(*txn) ? 0 : agreed, 0, loop_.clock.monotonic()};
        if (server::slow_trace(times.ended - c.started())) trace_read_txn(loop_, c, times, nullptr);
        c.fail(access.error());
      });
}

Result<> KvService::still_current(const AccessRef& access) {
  return access ? loop_.callers->still_current(*access) : Result<>();
}

void KvService::read_txn(grpc::Call& call, std::string_view bytes, const AccessRef& access,
                         io::MonotonicNs agreed) {
  pb::TxnRequest request = *wire::decode<pb::TxnRequest>(bytes);
  const ReadTimes times = begun(server::is_serializable(request), agreed);
  auto txn = std::make_unique<server::SteppedTxn>(loop_.member.view(), std::move(request));
  const Result<bool> done = txn->step({});
  if (done && !*done) {
    server::SteppedTxn* steps = txn.get();
    return long_reads_.add(
        call, std::move(txn),
        [this, bytes, times, steps, access](grpc::Call& c, server::SteppedRead& read, const Error* error) {
          txn_read(c, bytes, times, *steps, error);
          if (error != nullptr) return c.fail(*error);
          if (Result<> ok = still_current(access); !ok) return c.fail(ok.error());
          long_reads_.respond(c, read);
        });
  }
  txn_read(call, bytes, times, *txn, done ? nullptr : &done.error());
  if (!done) return call.fail(done.error());
  if (Result<> ok = still_current(access); !ok) return call.fail(ok.error());
  pb::TxnResponse response = txn->response();
  respond(call, loop_.member, txn->header_revision(), response);
}

void KvService::txn_read(grpc::Call& call, std::string_view bytes, ReadTimes times, server::SteppedTxn& txn,
                         const Error* error) {
  loop_.member.count_ranges(txn.ranges_and_compares());
  if (error == nullptr) call.context = txn.succeeded() ? 1 : 0;
  times.ended = loop_.clock.monotonic();
  const int64_t took = times.ended - times.begun;
  if (server::slow_trace(times.ended - call.started()))
    trace_read_txn(loop_, call, times, error == nullptr ? &txn : nullptr);
  server::SlowRequests& slow = loop_.member.slow_requests();
  if (!slow.slow(took)) [[likely]]
    return;
  std::string response;
  if (error == nullptr) {
    response = "responses:<";
    for (const server::RangeSteps& r : txn.ranges()) {
      if (&r != txn.ranges().data()) response += ' ';
      response += fmt::format("range_response_count:{}", r.kvs());
    }
    response += fmt::format("> size:{}", revision_header_size(txn.header_revision()) + txn.encoded_size());
  }
  slow.warn(took, "read-only txn ", server::request_text(*wire::decode<pb::TxnRequest>(bytes)), response,
            error);
}

void KvService::compact(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::CompactionRequest>(call, bytes);
  if (!request) return;
  write(call, raft_field::kCompaction, *request, bytes, trace_compact);
}

}  // namespace quoin::v3rpc
