#include "v3rpc/gate.h"

#include "base/utf8.h"
#include "wire/coding.h"

namespace quoin::v3rpc {

bool Gate::admit(grpc::Call& call, bool learner_may) {
  if (member_.learner() && !learner_may) {
    call.fail(Error(Code::kNotSupportedForLearner));
    return false;
  }
  const auto version = call.metadata("client-api-version");
  if (version && !valid_utf8(*version)) {
    call.fail(Error(Code::kInvalidClientApiVersion));
    return false;
  }
  requests(call.method().kind != grpc::MethodKind::kUnary, version ? *version : std::string_view("unknown"))
      .inc();
  if (call.metadata("hasleader") == "true" && !member_.leader()) {
    call.fail(Error(Code::kNoLeader));
    return false;
  }
  return true;
}

GrpcStatus Gate::cancelled(const grpc::Call& call, grpc::CancelReason reason) {
  const bool late = reason == grpc::CancelReason::kDeadline;
  if (call.context == 0) return late ? GrpcStatus::kDeadlineExceeded : GrpcStatus::kCanceled;
  loop_.port.give_up(call.context);
  // Without a leader raft has not taken it.
  if (!member_.leader()) return late ? GrpcStatus::kDeadlineExceeded : GrpcStatus::kCanceled;
  return late ? GrpcStatus::kUnavailable : GrpcStatus::kUnknown;
}

void Gate::ended(const grpc::Call& call, std::string_view request, size_t response_bytes) {
  const int64_t took = loop_.clock.monotonic() - call.started();
  // As etcd: at debug level the line of a slow call is no warning either.
  const bool debug = loop_.log.enabled(log::Level::kDebug);
  if (took <= slow_ns_ && !debug) [[likely]]
    return;
  log_request_stats(loop_.log, debug ? log::Level::kDebug : log::Level::kWarn, call, request, response_bytes,
                    loop_.clock.wall() - took, took);
}

metrics::Counter& Gate::requests(bool stream, std::string_view version) {
  for (const Seen& s : seen_) {
    if (s.stream == stream && s.version == version) return *s.counter;
  }
  metrics::Counter& c = metrics_.client_requests(stream, version);
  if (seen_.size() < RpcMetrics::kVersionsMax) seen_.push_back({stream, std::string(version), &c});
  return c;
}

wire::etcdserverpb::ResponseHeader header(const server::Member& member, int64_t revision) {
  wire::etcdserverpb::ResponseHeader h;
  h.cluster_id = member.cluster_id().v;
  h.member_id = member.id().v;
  h.revision = revision;
  h.raft_term = member.term().v;
  return h;
}

void respond(grpc::Call& call, const server::Member& member, const server::Answer& answer) {
  if (answer.error) return call.fail(*answer.error);
  call.context = static_cast<uint64_t>(answer.count);
  const auto h = header(member, answer.revision != 0 ? answer.revision : member.revision());
  const size_t head = encoded_size(h);
  call.respond(wire::length_delimited_size(1, head) + answer.body.size(), [&](char* out) {
    out = wire::encode(h, wire::put_length_delimited_head(out, 1, head), head);
    wire::put_bytes(out, answer.body);
  });
}

}  // namespace quoin::v3rpc
