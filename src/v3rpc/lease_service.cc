#include "v3rpc/lease_service.h"

#include <algorithm>
#include <memory>

#include "server/quota.h"
#include "v3rpc/kv_service.h"
#include "v3rpc/leader_monitor.h"
#include "wire/message.h"

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;

LeaseService::LeaseService(Loop& loop, Gate& gate, grpc::MethodTable& methods)
    : loop_(loop),
      gate_(gate),
      grant_(gate, false, [this](grpc::Call& c, std::string_view r) { grant(c, r); }),
      revoke_(gate, false, [this](grpc::Call& c, std::string_view r) { revoke(c, r); }),
      time_to_live_(gate, false, [this](grpc::Call& c, std::string_view r) { time_to_live(c, r); }),
      leases_(gate, false, [this](grpc::Call& c, std::string_view r) { leases(c, r); }) {
  constexpr std::string_view kService = "etcdserverpb.Lease";
  methods.add_unary(kService, "LeaseGrant", grant_);
  methods.add_unary(kService, "LeaseRevoke", revoke_);
  methods.add_unary(kService, "LeaseTimeToLive", time_to_live_);
  methods.add_unary(kService, "LeaseLeases", leases_);
  methods.add_stream(kService, "LeaseKeepAlive", grpc::MethodKind::kBidiStream, *this);
}

LeaseService::~LeaseService() = default;

void LeaseService::grant(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::LeaseGrantRequest>(call, bytes);
  if (!request || !quota_admits(loop_, call, server::kLeaseGrantCost)) return;
  while (request->id == 0) request->id = static_cast<int64_t>(loop_.member.next_id() & INT64_MAX);
  propose(loop_, call, raft_field::kLeaseGrant, *request);
}

void LeaseService::revoke(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::LeaseRevokeRequest>(call, bytes);
  if (!request) return;
  propose(loop_, call, raft_field::kLeaseRevoke, *request);
}

namespace {
constexpr size_t kItemsPerTurn = 2'000;

// `f(call, revision)` once the caller may do that with the keys of the leases; `revision`: the auth revision at which
// it was checked, 0 while auth is off. Else the call fails.
template <class F>
void when_allowed(Loop& loop, grpc::Call& call, server::LeaseRight right, std::vector<LeaseId> leases, F f) {
  if (!loop.callers->enabled()) return f(call, 0);
  loop.callers->when_known(call, [&loop, right, leases = std::move(leases), f = std::move(f)](
                                     grpc::Call& c, Result<Who> who) mutable {
    if (who && !*who) who = Error(Code::kUserEmpty);
    if (!who) return c.fail(who.error());
    loop.member.check_leases(
        right, std::move(*who), std::move(leases), loop.port.loop(),
        CallRef(c).then([f = std::move(f)](grpc::Call& c2, Result<uint64_t> as_of) mutable {
          if (!as_of) return c2.fail(as_of.error());
          f(c2, *as_of);
        }));
  });
}
bool still_as_of(Loop& loop, uint64_t revision) {
  const auth::Permissions& now = *loop.callers->permissions();
  return revision == 0 || !now.enabled || now.revision == revision;
}

// A long answer, whose last field is repeated: its items are encoded some in each turn.
template <class Response, class Item>
struct LongAnswer {
  using Add = void (*)(Response&, const Item&);
  Loop& loop;
  const CallRef call;
  const std::string head;  // what stands before the items, encoded
  const std::vector<Item> items;
  const Add add;
  size_t next = 0, bytes = 0;
  std::vector<Blob> parts;

  // `front`: the response without its items.
  static void send(Loop& loop, grpc::Call& call, Response& front, std::vector<Item> items, Add add) {
    const int64_t revision = loop.member.revision();
    if (items.size() <= kItemsPerTurn) {
      for (const Item& item : items) add(front, item);
      return respond(call, loop.member, revision, front);
    }
    front.header = header(loop.member, revision);
    turn(std::unique_ptr<LongAnswer>(
        new LongAnswer{loop, CallRef(call), wire::encode_string(front), std::move(items), add}));
  }
  static void turn(std::unique_ptr<LongAnswer> self) {
    grpc::Call* call = nullptr;
    self->call.with([&](grpc::Call& c) { call = &c; });
    if (call == nullptr) return;
    Response some;
    const size_t end = std::min(self->next + kItemsPerTurn, self->items.size());
    for (; self->next < end; ++self->next) self->add(some, self->items[self->next]);
    self->bytes += self->parts.emplace_back(wire::encode_blob(some)).size();
    if (self->next == self->items.size()) return call->respond(self->head, self->parts, self->bytes);
    call->hold_prepared(self->bytes);
    Loop& loop = self->loop;
    loop.turns->add([self = std::move(self)]() mutable { turn(std::move(self)); });
  }
};
}  // namespace

void LeaseService::time_to_live(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::LeaseTimeToLiveRequest>(call, bytes);
  if (!request) return;
  const LeaseId lease(request->id);
  if (!request->keys) return answer_time_to_live(call, lease, false, 0);
  when_allowed(loop_, call, server::LeaseRight::kRead, {lease},
               [this, lease](grpc::Call& c, uint64_t as_of) { answer_time_to_live(c, lease, true, as_of); });
}

void LeaseService::answer_time_to_live(grpc::Call& call, LeaseId lease, bool keys, uint64_t as_of) {
  loop_.member.lease_times(
      lease, keys, loop_.port.loop(),
      CallRef(call).then([this, lease, as_of](grpc::Call& c, Result<server::LeaseTimes> times) {
        if (!times) return c.fail(times.error());
        if (!still_as_of(loop_, as_of)) return c.fail(Error(Code::kAuthOldRevision));
        pb::LeaseTimeToLiveResponse r;
        r.id = lease.v;
        r.ttl = times->ttl;
        r.granted_ttl = times->granted_ttl;
        LongAnswer<pb::LeaseTimeToLiveResponse, std::string>::send(
            loop_, c, r, std::move(times->keys),
            [](auto& to, const std::string& key) { to.keys.emplace_back(key); });
      }));
}

void LeaseService::leases(grpc::Call& call, std::string_view bytes) {
  if (!decode_or_fail<pb::LeaseLeasesRequest>(call, bytes)) return;
  auto answer = [this](grpc::Call& c, Result<std::vector<LeaseId>> leases) {
    if (!leases) return c.fail(leases.error());
    auto shared = std::make_shared<std::vector<LeaseId>>(std::move(*leases));
    when_allowed(loop_, c, server::LeaseRight::kRead, *shared,
                 [this, shared](grpc::Call& c2, uint64_t as_of) {
                   if (!still_as_of(loop_, as_of)) return c2.fail(Error(Code::kAuthOldRevision));
                   pb::LeaseLeasesResponse r;
                   LongAnswer<pb::LeaseLeasesResponse, LeaseId>::send(
                       loop_, c2, r, std::move(*shared),
                       [](auto& to, const LeaseId& lease) { to.leases.emplace_back().id = lease.v; });
                 });
  };
  loop_.member.leases(loop_.port.loop(), CallRef(call).then(answer));
}

class LeaseService::KeepAlive final : public StreamBase<KeepAlive> {
 public:
  KeepAlive(Loop& loop, grpc::Call& call) : StreamBase(call), loop_(loop) {}

  void on_message(std::string_view bytes) override {
    auto request = wire::decode<pb::LeaseKeepAliveRequest>(bytes);
    if (!request) return call_.fail_decode(request.error().text());
    ++in_flight_;
    const LeaseId lease(request->id);
    // The header tells the state before the renewal.
    const int64_t revision = loop_.member.revision();
    if (!loop_.callers->enabled()) [[likely]] {
      if (full()) call_.pause_reading();
      return renew(lease, revision);
    }
    // One after the other, so that they are answered in order however long a check takes.
    checking_ = true;
    call_.pause_reading();
    when_allowed(loop_, call_, server::LeaseRight::kWrite, {lease},
                 [self = self(), lease, revision, &loop = loop_](grpc::Call& c, uint64_t as_of) {
                   if (!still_as_of(loop, as_of)) return c.fail(Error(Code::kAuthOldRevision));
                   self.then(&KeepAlive::renew, lease, revision)();
                 });
  }
  void on_half_close() override {
    half_closed_ = true;
    finish_if_idle();
  }
  void on_writable() override { read_on(); }
  // etcd's handler cannot tell a client that left from its own way to end a stream, the loss of the leader.
  GrpcStatus on_cancelled(grpc::CancelReason reason) override {
    return reason == grpc::CancelReason::kDeadline ? GrpcStatus::kDeadlineExceeded : GrpcStatus::kUnavailable;
  }

 private:
  // Each request is answered, so the way in is closed while the way out is full.
  bool full() const { return in_flight_ >= kRenewalsInFlightMax || checking_ || !call_.writable(); }
  void renew(LeaseId lease, int64_t revision) {
    loop_.port.renew_lease(lease, self().then(&KeepAlive::answer, lease, revision));
  }
  void read_on() {
    if (!full()) call_.resume_reading();
  }
  void answer(LeaseId lease, int64_t revision, Result<int64_t> ttl) {
    if (!ttl && ttl.error().code() != Code::kLeaseNotFound) return call_.fail(ttl.error());
    pb::LeaseKeepAliveResponse r;
    r.header = header(loop_.member, revision);
    r.id = lease.v;
    r.ttl = ttl ? *ttl : 0;  // an unknown lease is no error: its TTL is 0
    const size_t size = encoded_size(r);
    if (!call_.send_message(size, [&](char* out) { wire::encode(r, out, size); })) return;
    --in_flight_;
    checking_ = false;
    read_on();
    finish_if_idle();
  }
  void finish_if_idle() {
    if (half_closed_ && in_flight_ == 0 && !call_.ended()) call_.finish(GrpcStatus::kOk, {});
  }

  Loop& loop_;
  size_t in_flight_ = 0;
  bool checking_ = false;  // the one request in flight, whose caller's rights count
  bool half_closed_ = false;
};

std::unique_ptr<grpc::StreamListener> LeaseService::open(grpc::Call& call) {
  if (!gate_.admit(call, false)) return nullptr;
  loop_.leader_monitor->add(call);
  return std::make_unique<KeepAlive>(loop_, call);
}

}  // namespace quoin::v3rpc
