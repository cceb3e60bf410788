#include "v3rpc/request_stats.h"

#include "server/request_text.h"
#include "server/slow_trace.h"
#include "wire/message.h"

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;

namespace {

struct Stats {
  int64_t request_count = -1, request_bytes = -1, response_count = -1, response_bytes = -1;
  std::string content;
};

template <class Request>
void describe(std::string_view bytes, int64_t count, Stats* out) {
  const auto request = wire::decode<Request>(bytes);
  if (!request) return;
  out->request_count = count;
  out->request_bytes = static_cast<int64_t>(encoded_size(*request));
  out->content = server::request_text(*request);
}

// Size and number of the branch that was taken.
void describe_txn(std::string_view bytes, bool succeeded, Stats* out) {
  const auto request = wire::decode<pb::TxnRequest>(bytes);
  if (!request) return;
  const auto& ops = succeeded ? request->success : request->failure;
  out->request_count = static_cast<int64_t>(ops.size());
  for (const pb::RequestOp& op : ops) out->request_bytes += static_cast<int64_t>(encoded_size(op));
  out->content = server::request_text(*request);
}

Stats stats_of(const grpc::Call& call, std::string_view request, size_t response_bytes) {
  Stats s;
  const grpc::Method& method = call.method();
  if (call.context == kNotHandled || method.service != "etcdserverpb.KV") return s;
  Stats kv{0, 0, 0, static_cast<int64_t>(response_bytes), {}};
  const bool answered = response_bytes > 0;
  const auto number = static_cast<int64_t>(answered ? call.context : 0);
  if (method.name == "Range") {
    describe<pb::RangeRequest>(request, 0, &kv);
    kv.response_count = number;
  } else if (method.name == "Put") {
    describe<pb::PutRequest>(request, 1, &kv);
  } else if (method.name == "DeleteRange") {
    describe<pb::DeleteRangeRequest>(request, 0, &kv);
    kv.response_count = number;
  } else if (method.name == "Txn") {
    if (answered) describe_txn(request, number != 0, &kv);
  } else {
    return s;
  }
  return kv;
}

}  // namespace

void log_request_stats(log::Logger& log, log::Level level, const grpc::Call& call, std::string_view request,
                       size_t response_bytes, io::WallNs start, int64_t took_ns) {
  const Stats s = stats_of(call, request, response_bytes);
  const std::string method = fmt::format("/{}/{}", call.method().service, call.method().name);
  const std::string start_text = server::time_text(start);
  log.log(log::Event{level,
                     "request stats",
                     {{"start time", start_text},
                      {"time spent", log::Duration{took_ns}},
                      {"remote", call.peer_address()},
                      {"response type", method},
                      {"request count", s.request_count},
                      {"request size", s.request_bytes},
                      {"response count", s.response_count},
                      {"response size", s.response_bytes},
                      {"request content", s.content}},
                     __FILE__,
                     __LINE__});
}

}  // namespace quoin::v3rpc
