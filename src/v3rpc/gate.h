// The checks before every handler, in etcd's order: capability, learner, client-api-version, known leader; then what
// the call needs of its caller whatever it asks for. And the ways from a request to its answer.
//
// Threads: confined to its loop. Source: spec api-semantics 1.3, 1.4, 6.5.
#pragma once
#include <functional>
#include <memory>
#include <string_view>

#include "auth/checks.h"
#include "grpc/call.h"
#include "grpc/turns.h"
#include "server/member.h"
#include "v3rpc/call_ref.h"
#include "v3rpc/callers.h"
#include "v3rpc/limits.h"
#include "v3rpc/request_stats.h"
#include "v3rpc/rpc_metrics.h"
#include "wire/coding.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::grpc {
class MemoryBudget;
}

namespace quoin::v3rpc {

class LeaderMonitor;

// One loop's view of the member, shared by its services.
struct Loop {
  server::Member& member;
  server::ClientPort& port;
  io::TimerService& timers;
  io::Clock& clock;
  log::Logger& log;
  RpcMetrics& metrics;
  Limits limits = {};
  const grpc::MemoryBudget* memory = nullptr;  // what answers count in; null: no bound
  // Set by Services.
  grpc::Turns* turns = nullptr;
  LeaderMonitor* leader_monitor = nullptr;
  Callers* callers = nullptr;
};

class Gate {
 public:
  explicit Gate(Loop& loop)
      : loop_(loop),
        member_(loop.member),
        metrics_(loop.metrics),
        slow_ns_(loop.member.config().warning_unary_request_ns) {}
  // False: the call has been ended with the error clients see.
  bool admit(grpc::Call& call, bool learner_may);
  Callers& callers() { return *loop_.callers; }
  // What etcd's handler would have returned for a call that ended before its answer. A proposal that raft
  // took has an unknown outcome: Unknown, or Unavailable once the time is over; and it counts as failed. A
  // call that waits for anything else ends as its context did. Source: spec api-semantics 1.8.
  GrpcStatus cancelled(const grpc::Call& call, grpc::CancelReason reason);
  // A unary call is over: tells of it if it took long. The only cost otherwise is a look at the clock.
  void ended(const grpc::Call& call, std::string_view request, size_t response_bytes);

 private:
  metrics::Counter& requests(bool stream, std::string_view version);

  Loop& loop_;
  server::Member& member_;
  RpcMetrics& metrics_;
  const int64_t slow_ns_;
  // The versions this loop has seen, so that a call takes no lock. As many as RpcMetrics tells apart.
  struct Seen {
    bool stream;
    std::string version;
    metrics::Counter* counter;
  };
  std::vector<Seen> seen_;
};

// A unary method as a function.
class Unary final : public grpc::UnaryHandler {
 public:
  using Handle = std::function<void(grpc::Call&, std::string_view request)>;
  // Told of a call that was let in and ended before it was answered.
  using Cancelled =
      std::function<void(const grpc::Call&, std::string_view request, grpc::CancelReason reason)>;
  Unary(Gate& gate, bool learner_may, Handle handle, Cancelled cancelled = {})
      : gate_(gate),
        learner_may_(learner_may),
        handle_(std::move(handle)),
        cancelled_(std::move(cancelled)) {}
  void call(grpc::Call& call, std::string_view request) override {
    call.context = kNotHandled;
    if (!gate_.admit(call, learner_may_)) return;
    if (!gate_.callers().enabled()) [[likely]]
      return handle(call, request);
    const auto& method = call.method();
    if (!need_) need_ = auth::need_of_call("/" + method.service + "/" + method.name);
    gate_.callers().when_admitted(call, *need_, [this, request](grpc::Call& c) { handle(c, request); });
  }
  GrpcStatus cancelled(grpc::Call& call, std::string_view request, grpc::CancelReason reason) override {
    if (call.context == kNotHandled) return UnaryHandler::cancelled(call, request, reason);
    if (cancelled_) cancelled_(call, request, reason);
    return gate_.cancelled(call, reason);
  }
  void ended(grpc::Call& call, std::string_view request, size_t response_bytes) override {
    gate_.ended(call, request, response_bytes);
  }

 private:
  void handle(grpc::Call& call, std::string_view request) {
    call.context = 0;
    handle_(call, request);
  }
  Gate& gate_;
  const bool learner_may_;
  std::optional<auth::Need> need_;  // once a call was made while auth was on
  const Handle handle_;
  const Cancelled cancelled_;
};

// cluster_id, member_id, raft_term of this member now; revision as given.
wire::etcdserverpb::ResponseHeader header(const server::Member& member, int64_t revision);

// Ends the call with `response` under a header of that revision.
template <class Response>
void respond(grpc::Call& call, const server::Member& member, int64_t revision, Response& response) {
  response.header = header(member, revision);
  const size_t size = encoded_size(response);
  call.respond(size, [&](char* out) { wire::encode(response, out, size); });
}
// An applied outcome: header, then the body that apply encoded.
void respond(grpc::Call& call, const server::Member& member, const server::Answer& answer);

// Decodes or ends the call. Empty if it ended it.
template <class Request>
std::optional<Request> decode_or_fail(grpc::Call& call, std::string_view bytes) {
  auto r = wire::decode<Request>(bytes);
  if (!r) {
    call.fail_decode(r.error().text());
    return std::nullopt;
  }
  return std::move(*r);
}

// An InternalRaftRequest with header {id, who} and one request in field `field`, encoded once for log, disk and
// apply.
template <class Request>
Blob raft_request(uint64_t id, uint32_t field, const Request& request, const Who& who = {});

// Fields of InternalRaftRequest.
namespace raft_field {
inline constexpr uint32_t kPut = 4, kDeleteRange = 5, kTxn = 6, kCompaction = 7, kLeaseGrant = 8,
                          kLeaseRevoke = 9, kAlarm = 10, kHeader = 100, kDowngradeInfoSet = 1302;
}

template <class Request>
Blob raft_request(uint64_t id, uint32_t field, const Request& request, const Who& who) {
  const size_t inner = encoded_size(request);
  size_t head = 1 + wire::varint_size(id);
  const std::string_view user = who ? std::string_view(who->user) : std::string_view();
  const uint64_t revision = who ? who->revision : 0;
  if (!user.empty()) head += wire::length_delimited_size(2, user.size());
  if (revision != 0) head += 1 + wire::varint_size(revision);
  const size_t size =
      wire::length_delimited_size(field, inner) + wire::length_delimited_size(raft_field::kHeader, head);
  return Blob::make(size, [&](char* out) {
    out = wire::put_length_delimited_head(out, field, inner);
    out = wire::encode(request, out, inner);
    out = wire::put_length_delimited_head(out, raft_field::kHeader, head);
    out = wire::put_varint_field(out, 1, id);
    if (!user.empty()) out = wire::put_bytes(wire::put_length_delimited_head(out, 2, user.size()), user);
    if (revision != 0) wire::put_varint_field(out, 3, revision);
  });
}

// Proposes the request under its caller's name. `done(grpc::Call&, const server::Answer&)`, unless the call has
// ended; it fails here if its token is not valid. A request points into the call's own, which lives as long, or into
// `owner`.
template <class Request, class Done>
void propose_then(Loop& loop, grpc::Call& call, uint32_t field, const Request& request, Done done,
                  std::shared_ptr<const void> owner = nullptr) {
  const auto send = [&loop, field](grpc::Call& c, const Request& r, const Result<Who>& who, Done then) {
    if (!who) return c.fail(who.error());
    const uint64_t id = loop.member.next_id();
    c.context = id;  // what Unary::cancelled() gives up
    loop.port.propose(id, raft_request(id, field, r, *who), CallRef(c).then(std::move(then)));
  };
  if (const auto who = loop.callers->who(call)) return send(call, request, *who, std::move(done));
  loop.callers->when_known(
      call, [send, request, done = std::move(done), owner = std::move(owner)](
                grpc::Call& c, const Result<Who>& who) mutable { send(c, request, who, std::move(done)); });
}
// The same, and answers the call with the outcome.
template <class Request>
void propose(Loop& loop, grpc::Call& call, uint32_t field, const Request& request,
             std::shared_ptr<const void> owner = nullptr) {
  propose_then(
      loop, call, field, request,
      [&loop](grpc::Call& c, const server::Answer& answer) { respond(c, loop.member, answer); },
      std::move(owner));
}

}  // namespace quoin::v3rpc
