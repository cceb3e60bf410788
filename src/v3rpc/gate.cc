#include "v3rpc/gate.h"

#include "wire/coding.h"

namespace quoin::v3rpc {

namespace {

bool valid_utf8(std::string_view s) {
  for (size_t i = 0; i < s.size();) {
    const auto c = static_cast<unsigned char>(s[i]);
    size_t n = c < 0x80                ? 1
               : c >= 0xc2 && c < 0xe0 ? 2
               : c >= 0xe0 && c < 0xf0 ? 3
               : c >= 0xf0 && c < 0xf5 ? 4
                                       : 0;
    if (n == 0 || i + n > s.size()) return false;
    uint32_t v = n == 1 ? c : c & (0x7f >> n);
    for (size_t k = 1; k < n; ++k) {
      const auto t = static_cast<unsigned char>(s[i + k]);
      if ((t & 0xc0) != 0x80) return false;
      v = v << 6 | (t & 0x3f);
    }
    if ((n == 3 && v < 0x800) || (n == 4 && v < 0x10000) || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
      return false;
    i += n;
  }
  return true;
}

}  // namespace

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
  const auto h = header(member, answer.revision != 0 ? answer.revision : member.view()->revision());
  const size_t head = encoded_size(h);
  call.respond(wire::length_delimited_size(1, head) + answer.body.size(), [&](char* out) {
    out = wire::encode(h, wire::put_length_delimited_head(out, 1, head), head);
    wire::put_bytes(out, answer.body);
  });
}

}  // namespace quoin::v3rpc
