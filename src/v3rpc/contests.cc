#include "v3rpc/contests.h"

#include <utility>

#include "base/check.h"
#include "mvcc/key_value.h"
#include "v3rpc/contest_keys.h"
#include "wire/message.h"

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;

namespace {
constexpr std::string_view kSessionExpired = "mutex: session is expired";

// The oldest key under the prefix of a lock, asked in the transaction that enters it.
void ask_owner(pb::RequestOp& op, std::string_view prefix, std::string_view end) {
  pb::RangeRequest& r = op.set_request_range();
  r.key = prefix;
  r.range_end = end;
  r.limit = 1;
  r.sort_order = pb::RangeRequest::SortOrder::kAscend;
  r.sort_target = pb::RangeRequest::SortTarget::kCreate;
}

// The only key that the n-th operation, a Range, has found; empty if it found none.
Result<std::optional<mvcc::KeyValueRef>> found(const pb::TxnResponse& response, size_t n) {
  const pb::RangeResponse* range =
      n < response.responses.size() ? response.responses[n].response_range() : nullptr;
  if (range == nullptr)
    return make_error(Code::kCorruption, "operation {} of a transaction has no answer", n);
  if (range->kvs.empty()) return std::optional<mvcc::KeyValueRef>();
  ASSIGN_OR_RETURN(const mvcc::KeyValueRef kv, mvcc::decode_key_value(range->kvs.front().bytes));
  return std::optional(kv);
}
}  // namespace

struct Contests::Contest {
  enum class Phase : uint8_t { kGranting, kEntering, kProclaiming, kWaiting, kChecking, kGivingUp };
  std::string_view prefix() const { return std::string_view(key).substr(0, name.size() + 1); }

  const Kind& kind;
  InnerKv::Behalf behalf;
  const std::string_view name, value;  // only while the call has not ended
  Phase phase = Phase::kGranting;
  LeaseId lease = {};
  std::string key = {};
  int64_t revision = 0;  // of the key's creation
  pb::ResponseHeader header = {};
  std::unique_ptr<InnerWatch> elder = nullptr;  // the watch of the youngest older key
  Front* front = nullptr;                       // of the prefix, once it waits
  bool learned = false;                         // a pass of its own told it since it was woken
};

Contests::Contests(InnerKv& kv) : kv_(kv) {}
Contests::~Contests() = default;

Contests::Contest& Contests::of(const grpc::Call& call) {
  const auto it = contests_.find(call.id().v);
  CHECK(it != contests_.end(), "a call in progress without its contest");
  return *it->second;
}

void Contests::begin(grpc::Call& call, const Kind& kind, std::string_view name, int64_t lease,
                     std::string_view value) {
  contests_.emplace(call.id().v,
                    std::unique_ptr<Contest>(new Contest{kind, InnerKv::Behalf(call), name, value}));
  kv_.session(call, lease, [this](grpc::Call& c, Result<InnerKv::Session> session) {
    if (!session) return fail(c, session.error());
    Contest& contest = of(c);
    contest.lease = session->lease;
    contest.behalf = std::move(session->behalf);
    enter(c, contest);
  });
}

void Contests::enter(grpc::Call& call, Contest& contest) {
  contest.phase = Contest::Phase::kEntering;
  contest.key = fmt::format("{}/{:x}", contest.name, contest.lease.v);
  const std::string_view key = contest.key, prefix = contest.prefix();
  const std::string end = prefix_end(prefix);
  pb::TxnRequest txn;
  if_created_at(&txn, key, 0);  // there is none
  pb::PutRequest& put = txn.success.emplace_back().set_request_put();
  put.key = key;
  put.value = contest.value;
  put.lease = contest.lease.v;
  txn.failure.emplace_back().set_request_range().key = key;
  if (contest.kind.lock) {
    ask_owner(txn.success.emplace_back(), prefix, end);
    ask_owner(txn.failure.emplace_back(), prefix, end);
  }
  kv_.txn_to_end(call, txn, [this, id = call.id().v](grpc::Call* c, const Result<InnerKv::Written>& written) {
    entered(id, c, written);
  });
}

void Contests::entered(uint64_t call_id, grpc::Call* call, const Result<InnerKv::Written>& written) {
  if (call == nullptr) {
    const auto it = contests_.find(call_id);
    CHECK(it != contests_.end(), "a contest ended while it was entering");
    Contest& contest = *it->second;
    if (written && written->succeeded) {
      kv_.release(contest.behalf, contest.key, written->header.revision);
    }
    take_out(call_id);
    return;
  }
  if (!written) return fail(*call, written.error());
  Contest& contest = of(*call);
  contest.header = written->header;
  contest.revision = written->header.revision;
  const auto response = wire::decode<pb::TxnResponse>(written->body);
  if (!response) return fail(*call, response.error());
  bool other_value = false;
  if (!written->succeeded) {
    const auto mine = found(*response, 0);
    if (!mine) return fail(*call, mine.error());
    if (!*mine) return fail(*call, make_error(Code::kCorruption, "a key that exists was not found"));
    contest.revision = (*mine)->create_revision;
    other_value = (*mine)->value != contest.value;
  }
  if (!contest.kind.lock) return other_value ? proclaim(*call, contest) : wait(*call, contest);
  const auto owner = found(*response, 1);
  if (!owner) return fail(*call, owner.error());
  if (!*owner || (*owner)->create_revision == contest.revision) return won(*call);
  wait(*call, contest);
}

void Contests::proclaim(grpc::Call& call, Contest& contest) {
  contest.phase = Contest::Phase::kProclaiming;
  pb::TxnRequest txn;
  proclaim_txn(&txn, contest.key, contest.revision, contest.value, contest.lease);
  kv_.txn(call, txn, [this](grpc::Call& c, const Result<InnerKv::Written>& written) {
    if (written && written->succeeded) return wait(c, of(c));
    if (written) return fail(c, Error(Code::kNotFound, std::string(kElectionNotLeader)));
    give_up(c, written.error());
  });
}

// Which of the older keys is the youngest one left?
void Contests::wait(grpc::Call& call, Contest& contest) {
  contest.phase = Contest::Phase::kWaiting;
  if (contest.front == nullptr) {
    contest.front = &fronts_[std::string(contest.prefix())];
    ++contest.front->contests;
    return search(call, contest);  // what the front knows is older than this key
  }
  if (!contest.front->elders) contest.front->elders = std::make_unique<Elders>();
  const std::string_view prefix = contest.prefix();
  kv_.when_readable(call, prefix, prefix_end(prefix), [this](grpc::Call& c, const Result<>& ok) {
    if (!ok) return waiting_failed(c, ok.error());
    decide(c, of(c));
  });
}

// By what is known of the prefix, or else by a look at it.
void Contests::decide(grpc::Call& call, Contest& contest) {
  Elders& elders = *contest.front->elders;
  if (!elders.knows(contest.revision)) return contest.learned ? search(call, contest) : learn(call, contest);
  const auto view = kv_.loop().member.view();
  const auto elder = elders.youngest(contest.revision, [&](const std::string& key, int64_t created) {
    const auto meta = view->find(key, view->revision());
    return meta && meta->create_revision == created;
  });
  if (!elder) return reached(call, contest);
  watch(call, *elder, view->revision());
}

void Contests::learn(grpc::Call& call, Contest& contest) {
  contest.learned = true;
  InnerKv::Query oldest;
  oldest.key = contest.prefix();
  oldest.range_end = prefix_end(oldest.key);
  oldest.limit = Elders::kKept;
  oldest.keys_only = true;
  kv_.find(call, std::move(oldest), InnerKv::Freshness::kApplied,
           [this](grpc::Call& c, const Result<InnerKv::Found>& found) {
             if (!found) return waiting_failed(c, found.error());
             Contest& x = of(c);
             Elders& elders = *x.front->elders;
             elders.begin();
             bool all = found->records.size() < Elders::kKept;
             for (const std::string& record : found->records) {
               const auto kv = mvcc::decode_key_value(record);
               if (!kv) return waiting_failed(c, kv.error());
               if (elders.add(std::string(kv->key), kv->create_revision)) continue;
               all = false;
               break;
             }
             if (all) elders.add_no_more(found->revision);
             decide(c, x);
           });
}

void Contests::search(grpc::Call& call, Contest& contest) {
  InnerKv::Query elders;
  elders.key = contest.prefix();
  elders.range_end = prefix_end(elders.key);
  elders.keys_only = true;
  elders.youngest = true;
  elders.max_create_revision = contest.revision - 1;
  kv_.find(call, std::move(elders), InnerKv::Freshness::kApplied,
           [this](grpc::Call& c, const Result<InnerKv::Found>& found) {
             if (!found) return waiting_failed(c, found.error());
             if (found->records.empty()) return reached(c, of(c));
             const auto elder = mvcc::decode_key_value(found->records.front());
             if (!elder) return waiting_failed(c, elder.error());
             watch(c, elder->key, found->revision);
           });
}

void Contests::watch(grpc::Call& call, std::string_view key, int64_t revision) {
  mvcc::WatchRequest watch;
  watch.key = key;
  watch.start_revision = revision + 1;
  watch.no_put = true;
  kv_.watch(call, std::move(watch), *this, [this](grpc::Call& c, Result<std::unique_ptr<InnerWatch>> elder) {
    if (!elder) return waiting_failed(c, elder.error());
    of(c).elder = std::move(*elder);
  });
}

void Contests::watch_ready(grpc::Call& call) {
  Contest& contest = of(call);
  const auto message = contest.elder->next();
  if (!message) return;
  contest.elder.reset();
  if (message->compact_revision != 0) return waiting_failed(call, Error(Code::kCompacted));
  if (message->canceled) return waiting_failed(call, Error(Code::kCorruption, message->cancel_reason));
  // Nothing but deletes is watched.
  contest.learned = false;
  wait(call, contest);
}

void Contests::reached(grpc::Call& call, Contest& contest) {
  if (contest.kind.lock) return check(call, contest);
  won(call);
}

void Contests::check(grpc::Call& call, Contest& contest) {
  contest.phase = Contest::Phase::kChecking;
  kv_.find(call, {contest.key, {}}, InnerKv::Freshness::kLinearizable,
           [this](grpc::Call& c, const Result<InnerKv::Found>& found) {
             if (!found) return waiting_failed(c, found.error());
             // Gone, or made again by another call of the same lease, which has its place behind those that came between.
             // etcd takes such a key for the call's own, and then two hold the lock.
             const auto own = found->records.empty() ? Result<mvcc::KeyValueRef>(Code::kKeyNotFound)
                                                     : mvcc::decode_key_value(found->records.front());
             if (!own || own->create_revision != of(c).revision)
               return fail(c, Error(Code::kNotFound, std::string(kSessionExpired)));
             of(c).header = kv_.header_at(found->revision);
             won(c);
           });
}

std::unique_ptr<Contests::Contest> Contests::take_out(uint64_t call_id) {
  const auto it = contests_.find(call_id);
  std::unique_ptr<Contest> contest = std::move(it->second);
  contests_.erase(it);
  if (contest->front != nullptr && --contest->front->contests == 0) {
    fronts_.erase(fronts_.find(contest->prefix()));
  }
  return contest;
}

void Contests::won(grpc::Call& call) {
  const std::unique_ptr<Contest> contest = take_out(call.id().v);
  contest->kind.answer(call,
                       {contest->header, contest->name, contest->key, contest->revision, contest->lease});
}

void Contests::waiting_failed(grpc::Call& call, const Error& error) {
  if (of(call).kind.lock) return give_up(call, error);
  fail(call, error);
}

void Contests::give_up(grpc::Call& call, const Error& error) {
  Contest& contest = of(call);
  contest.phase = Contest::Phase::kGivingUp;
  contest.elder.reset();
  kv_.release(contest.behalf, contest.key, contest.revision,
              [this, ref = CallRef(call), error] { ref.with([&](grpc::Call& c) { fail(c, error); }); });
}

void Contests::fail(grpc::Call& call, const Error& error) {
  take_out(call.id().v);
  InnerKv::fail(call, error);
}

void Contests::cancelled(const grpc::Call& call) {
  const auto it = contests_.find(call.id().v);
  if (it == contests_.end()) return;
  Contest& contest = *it->second;
  // Once the transaction's outcome is there, it is seen whether there is a key to give up.
  if (contest.phase == Contest::Phase::kEntering) return;
  if (contest.phase != Contest::Phase::kGranting && contest.phase != Contest::Phase::kGivingUp) {
    kv_.release(contest.behalf, contest.key, contest.revision);
  }
  take_out(call.id().v);
}

}  // namespace quoin::v3rpc
