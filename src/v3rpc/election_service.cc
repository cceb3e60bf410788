#include "v3rpc/election_service.h"

#include <utility>

#include "v3rpc/contest_keys.h"
#include "v3rpc/leader_monitor.h"
#include "wire/v3election.h"

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;
namespace electionpb = wire::v3electionpb;

namespace {
constexpr std::string_view kNoElectionLeader = "election: no leader";
constexpr std::string_view kMissingLeaderKey = "\"leader\" field must be provided";

constexpr Contests::Kind kCampaign{false, [](grpc::Call& call, const Contests::Won& won) {
                                     electionpb::CampaignResponse response;
                                     electionpb::LeaderKey& leader = response.leader.emplace();
                                     leader.name = won.name;
                                     leader.key = won.key;
                                     leader.rev = won.revision;
                                     leader.lease = won.lease.v;
                                     InnerKv::answer(call, won.header, response);
                                   }};

// The oldest key under the election's prefix.
InnerKv::Query leader_query(std::string_view name) {
  InnerKv::Query query;
  query.key = contest_prefix(name);
  query.range_end = prefix_end(query.key);
  return query;
}

// A record of the store as the `kv` of a response.
Result<electionpb::LeaderResponse> leader_response(std::string_view record) {
  electionpb::LeaderResponse response;
  TRY(wire::decode(record, &response.kv.emplace()));
  return response;
}
}  // namespace

ElectionService::ElectionService(InnerKv& kv, Contests& contests, Gate& gate, grpc::MethodTable& methods)
    : kv_(kv),
      contests_(contests),
      gate_(gate),
      campaign_(
          gate, false, [this](grpc::Call& c, std::string_view r) { campaign(c, r); },
          [this](const grpc::Call& c, std::string_view, grpc::CancelReason) { contests_.cancelled(c); }),
      proclaim_(gate, false, [this](grpc::Call& c, std::string_view r) { proclaim(c, r); }),
      leader_(gate, false, [this](grpc::Call& c, std::string_view r) { leader(c, r); }),
      resign_(gate, false, [this](grpc::Call& c, std::string_view r) { resign(c, r); }) {
  constexpr std::string_view kService = "v3electionpb.Election";
  methods.add_unary(kService, "Campaign", campaign_);
  methods.add_unary(kService, "Proclaim", proclaim_);
  methods.add_unary(kService, "Leader", leader_);
  methods.add_stream(kService, "Observe", grpc::MethodKind::kServerStream, *this);
  methods.add_unary(kService, "Resign", resign_);
}

ElectionService::~ElectionService() = default;

void ElectionService::campaign(grpc::Call& call, std::string_view bytes) {
  const auto request = decode_or_fail<electionpb::CampaignRequest>(call, bytes);
  if (!request) return;
  contests_.begin(call, kCampaign, request->name, request->lease, request->value);
}

void ElectionService::proclaim(grpc::Call& call, std::string_view bytes) {
  const auto request = decode_or_fail<electionpb::ProclaimRequest>(call, bytes);
  if (!request) return;
  if (!request->leader) return call.fail(GrpcStatus::kUnknown, kMissingLeaderKey);
  // As in etcd, a leader key without a lease is put under a new one.
  kv_.session(call, request->leader->lease,
              [this, key = request->leader->key, revision = request->leader->rev, value = request->value](
                  grpc::Call& c, const Result<InnerKv::Session>& session) {
                if (!session) return InnerKv::fail(c, session.error());
                pb::TxnRequest txn;
                proclaim_txn(&txn, key, revision, value, session->lease);
                kv_.txn(c, txn, [](grpc::Call& done, const Result<InnerKv::Written>& written) {
                  if (!written) return InnerKv::fail(done, written.error());
                  if (!written->succeeded) return done.fail(GrpcStatus::kUnknown, kElectionNotLeader);
                  electionpb::ProclaimResponse response;
                  InnerKv::answer(done, written->header, response);
                });
              });
}

void ElectionService::resign(grpc::Call& call, std::string_view bytes) {
  const auto request = decode_or_fail<electionpb::ResignRequest>(call, bytes);
  if (!request) return;
  if (!request->leader) return call.fail(GrpcStatus::kUnknown, kMissingLeaderKey);
  kv_.session(call, request->leader->lease,
              [this, key = request->leader->key, revision = request->leader->rev](
                  grpc::Call& c, const Result<InnerKv::Session>& session) {
                if (!session) return InnerKv::fail(c, session.error());
                pb::TxnRequest txn;
                resign_txn(&txn, key, revision);
                kv_.txn(c, txn, [](grpc::Call& done, const Result<InnerKv::Written>& written) {
                  if (!written) return InnerKv::fail(done, written.error());
                  electionpb::ResignResponse response;  // also if it had gone before
                  InnerKv::answer(done, written->header, response);
                });
              });
}

void ElectionService::leader(grpc::Call& call, std::string_view bytes) {
  const auto request = decode_or_fail<electionpb::LeaderRequest>(call, bytes);
  if (!request) return;
  kv_.find(call, leader_query(request->name), InnerKv::Freshness::kLinearizable,
           [this](grpc::Call& c, const Result<InnerKv::Found>& found) {
             if (!found) return InnerKv::fail(c, found.error());
             if (found->records.empty()) return c.fail(GrpcStatus::kUnknown, kNoElectionLeader);
             auto response = leader_response(found->records.front());
             if (!response) return InnerKv::fail(c, response.error());
             InnerKv::answer(c, kv_.header_at(found->revision), *response);
           });
}

// Looks for the leader; without one waits for the first key that is put. Then follows that key, one message
// for each value, until it is deleted; and again. Asks for events only while the stream can be written, so
// that a client that does not read holds back its watch. As in etcd, whatever goes wrong on the way ends the
// stream well, without an error.
class ElectionService::Observer final : public StreamBase<Observer>, private InnerWatch::Owner {
 public:
  Observer(InnerKv& kv, grpc::Call& call) : StreamBase(call), kv_(kv) {}

  void on_message(std::string_view bytes) override {
    const auto request = wire::decode<electionpb::LeaderRequest>(bytes);
    if (!request) return call_.fail_decode(request.error().text());
    query_ = leader_query(request->name);
    look();
  }
  void on_writable() override { go_on(); }
  GrpcStatus on_cancelled(grpc::CancelReason reason) override {
    watch_.reset();
    return reason == grpc::CancelReason::kDeadline ? GrpcStatus::kDeadlineExceeded : GrpcStatus::kCanceled;
  }

 private:
  void look() {
    stop_watching();
    kv_.find(call_, query_, InnerKv::Freshness::kLinearizable, self().then(&Observer::looked));
  }
  void looked(grpc::Call& /*call*/, const Result<InnerKv::Found>& found) {
    if (!found) return end();
    if (!found->records.empty()) return lead(found->revision, found->records.front());
    mvcc::WatchRequest watch;
    watch.key = query_.key;
    watch.range_end = query_.range_end;
    watch.start_revision = found->revision + 1;
    watch.no_delete = true;
    following_ = false;
    kv_.watch(call_, std::move(watch), *this, self().then(&Observer::watching));
  }
  void watching(grpc::Call& /*call*/, Result<std::unique_ptr<InnerWatch>> watch) {
    if (!watch) return end();
    watch_ = std::move(*watch);
  }
  // A leader has been found at this revision.
  void lead(int64_t revision, std::string_view record) {
    const std::string key = send(revision, record);
    if (call_.ended()) return;
    mvcc::WatchRequest watch;
    watch.key = key;
    watch.start_revision = revision + 1;
    following_ = true;
    stop_watching();
    kv_.watch(call_, std::move(watch), *this, self().then(&Observer::watching));
  }
  // Returns the record's key.
  std::string send(int64_t revision, std::string_view record) {
    auto response = leader_response(record);
    if (!response) {
      end();
      return {};
    }
    response->header = kv_.header_at(revision);
    const size_t size = encoded_size(*response);
    call_.send_message(size, [&](char* out) { wire::encode(*response, out, size); });
    return std::string(response->kv->key);
  }

  void watch_ready(grpc::Call& /*call*/) override { go_on(); }
  void go_on() {
    while (!call_.ended() && call_.writable() && watch_) {
      if (next_event_ == events_.events.size() && !next_message()) return;
      if (watch_ && next_event_ < events_.events.size()) take(events_.events[next_event_++]);
    }
  }
  // The events of the next message, if there is one.
  bool next_message() {
    auto message = watch_->next();
    if (!message) return false;
    if (message->canceled) {
      end();
      return false;
    }
    message_ = std::move(*message);
    next_event_ = 0;
    events_ = {};
    const Result<> decoded = wire::decode(message_.events.view(), &events_);
    CHECK(decoded.has_value(), "events that the store has encoded: {}", decoded.error().text());
    return true;
  }
  void take(const wire::mvccpb::Event& event) {
    if (event.type == wire::mvccpb::Event::EventType::kDelete) return look();
    const std::string_view record = event.kv->bytes;
    if (following_) {
      send(message_.header_revision, record);
      return;
    }
    wire::mvccpb::KeyValue kv;
    if (!wire::decode(record, &kv)) return end();
    const std::string kept(record);  // the message goes with its watch
    lead(kv.mod_revision, kept);
  }
  void stop_watching() {
    watch_.reset();
    message_ = {};
    events_ = {};
    next_event_ = 0;
  }
  void end() {
    stop_watching();
    if (!call_.ended()) call_.finish(GrpcStatus::kOk, {});
  }

  InnerKv& kv_;
  InnerKv::Query query_;
  bool following_ = false;  // a leader's key; else the prefix, until there is one
  std::unique_ptr<InnerWatch> watch_;
  mvcc::WatchMessage message_;  // being passed on
  pb::WatchResponse events_;    // of it
  size_t next_event_ = 0;
};

std::unique_ptr<grpc::StreamListener> ElectionService::open(grpc::Call& call) {
  if (!gate_.admit(call, false)) return nullptr;
  kv_.loop().leader_monitor->add(call);
  return std::make_unique<Observer>(kv_, call);
}

}  // namespace quoin::v3rpc
