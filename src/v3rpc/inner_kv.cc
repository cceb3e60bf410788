#include "v3rpc/inner_kv.h"

#include <utility>

#include "mvcc/key_value.h"
#include "server/quota.h"
#include "server/range_steps.h"
#include "v3rpc/checks.h"
#include "v3rpc/contest_keys.h"
#include "wire/message.h"

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;

InnerKv::InnerKv(Loop& loop)
    : loop_(loop), long_reads_(loop), mailbox_(std::make_shared<InnerWatch::Mailbox>(loop)) {}
InnerKv::~InnerKv() = default;

void InnerKv::fail(grpc::Call& call, const Error& error) {
  switch (error.code()) {
    // What that client has no error of its own for keeps its status.
    case Code::kContextCanceled:
    case Code::kContextDeadlineExceeded:
    case Code::kTimeoutWaitAppliedIndex:
    case Code::kCorruption:
      return call.fail(error);
    default:
      return call.fail(GrpcStatus::kUnknown, error.text());
  }
}

// ---- writes ----

template <class Request>
void InnerKv::propose(grpc::Call& call, const Who& who, uint32_t field, const Request& request, bool given_up,
                      Answered answered) {
  const uint64_t id = loop_.member.next_id();
  if (given_up) call.context = id;
  loop_.port.propose(id, raft_request(id, field, request, who),
                     CallRef(call).always_then(
                         [answered = std::move(answered)](grpc::Call* c, server::Answer answer) mutable {
                           if (c != nullptr) c->context = 0;
                           if (answer.error) return answered(c, *answer.error);
                           answered(c, std::move(answer));
                         }));
}

bool InnerKv::quota_admits(grpc::Call& call, uint64_t cost, bool given_up, Answered& answered) {
  if (loop_.member.quota_allows(cost)) return true;
  pb::AlarmRequest alarm;
  alarm.member_id = loop_.member.id().v;
  alarm.action = pb::AlarmRequest::AlarmAction::kActivate;
  alarm.alarm = pb::AlarmType::kNospace;
  propose(call, {}, raft_field::kAlarm, alarm, given_up,
          [answered = std::move(answered)](grpc::Call* c, const Result<server::Answer>&) mutable {
            answered(c, Error(Code::kNoSpace));
          });
  return false;
}

Result<InnerKv::Written> InnerKv::written(Result<server::Answer> answer) const {
  if (!answer) return answer.error();
  Written w;
  w.header = header(loop_.member, answer->revision != 0 ? answer->revision : loop_.member.revision());
  w.succeeded = answer->count != 0;
  w.body = std::move(answer->body);
  for (const Blob& part : answer->parts) w.body += part.view();
  return w;
}

void InnerKv::session(grpc::Call& call, int64_t lease, Then<Session> then) {
  loop_.callers->when_known(call, [this, lease, then = std::move(then)](grpc::Call& c,
                                                                        Result<Who> who) mutable {
    if (!who) return then(c, who.error());
    Session session{LeaseId(lease), Behalf(c)};
    if (*who) session.behalf.user_ = (*who)->user;
    if (lease != 0) return then(c, std::move(session));
    if (loop_.callers->enabled() && !*who) return then(c, Error(Code::kUserEmpty));
    grant(c, *who,
          [session = std::move(session), then = std::move(then)](grpc::Call& c2, Result<LeaseId> id) mutable {
            if (!id) return then(c2, id.error());
            session.lease = *id;
            then(c2, std::move(session));
          });
  });
}

void InnerKv::grant(grpc::Call& call, const Who& who, Then<LeaseId> then) {
  pb::LeaseGrantRequest request;
  request.ttl = kSessionTtlSeconds;
  while (request.id == 0) request.id = static_cast<int64_t>(loop_.member.next_id() & INT64_MAX);
  Answered answered = [then = std::move(then), lease = LeaseId(request.id)](
                          grpc::Call* c, const Result<server::Answer>& answer) mutable {
    if (c == nullptr) return;
    then(*c, answer ? Result<LeaseId>(lease) : Result<LeaseId>(answer.error()));
  };
  if (!quota_admits(call, server::kLeaseGrantCost, true, answered)) return;
  propose(call, who, raft_field::kLeaseGrant, request, true, std::move(answered));
}

void InnerKv::propose_txn(grpc::Call& call, const Who& who, const pb::TxnRequest& request, bool given_up,
                          Answered answered) {
  if (!quota_admits(call, server::txn_cost(request), given_up, answered)) return;
  if (Result<> ok = check_txn(request, loop_.member.config().max_txn_ops); !ok) {
    return answered(&call, ok.error());
  }
  propose(call, who, raft_field::kTxn, request, given_up, std::move(answered));
}

void InnerKv::txn(grpc::Call& call, const pb::TxnRequest& request, Then<Written> then) {
  const auto who = loop_.callers->who(call).value_or(Error(Code::kInvalidAuthToken));
  if (!who) return then(call, who.error());
  propose_txn(call, *who, request, true,
              [this, then = std::move(then)](grpc::Call* c, Result<server::Answer> answer) mutable {
                if (c != nullptr) then(*c, written(std::move(answer)));
              });
}

void InnerKv::txn_to_end(grpc::Call& call, const pb::TxnRequest& request, ThenAlways<Written> then) {
  const auto who = loop_.callers->who(call).value_or(Error(Code::kInvalidAuthToken));
  if (!who) return then(&call, who.error());
  propose_txn(call, *who, request, false,
              [this, then = std::move(then)](grpc::Call* c, Result<server::Answer> answer) mutable {
                then(c, written(std::move(answer)));
              });
}

void InnerKv::delete_range(grpc::Call& call, const pb::DeleteRangeRequest& request, Then<Written> then) {
  if (Result<> ok = check_delete_range(request); !ok) return then(call, ok.error());
  // The request points into the call's own, which lives as long.
  loop_.callers->when_known(
      call, [this, request, then = std::move(then)](grpc::Call& c, const Result<Who>& who) mutable {
        if (!who) return then(c, who.error());
        propose(c, *who, raft_field::kDeleteRange, request, true,
                [this, then = std::move(then)](grpc::Call* c2, Result<server::Answer> answer) mutable {
                  if (c2 != nullptr) then(*c2, written(std::move(answer)));
                });
      });
}

// ---- releases ----

struct InnerKv::Release {
  Behalf behalf;
  std::string key;
  int64_t create_revision;
  io::MonotonicNs until;  // no attempt begins later
  absl::AnyInvocable<void()> done;
  std::unique_ptr<io::Timer> timer = nullptr;
};

void InnerKv::release(const Behalf& behalf, std::string key, int64_t create_revision,
                      absl::AnyInvocable<void()> done) {
  const io::MonotonicNs until = loop_.clock.monotonic() + loop_.member.config().request_timeout_ns();
  to_release_.push_back({behalf, std::move(key), create_revision, until, std::move(done)});
  want_releases();
}

void InnerKv::want_releases() {
  if (to_release_.empty() || std::exchange(turn_wanted_, true)) return;
  // In turns: a connection that is lost may leave thousands.
  loop_.turns->add([this] {
    turn_wanted_ = false;
    begin_releases();
    want_releases();
  });
}

void InnerKv::begin_releases() {
  for (size_t n = 0; n < kReleasesPerTurn && !to_release_.empty(); ++n) {
    const auto at = to_release_.begin();
    releasing_.splice(releasing_.end(), to_release_, at);
    pb::TxnRequest request;
    resign_txn(&request, at->key, at->create_revision);
    Who who;
    if (loop_.callers->enabled() && !at->behalf.user_.empty()) {
      who = auth::AuthInfo{at->behalf.user_, loop_.callers->permissions()->revision};
    }
    const uint64_t id = loop_.member.next_id();
    loop_.port.propose(id, raft_request(id, raft_field::kTxn, request, who),
                       [this, at](const server::Answer& answer) { released(at, answer); });
  }
}

void InnerKv::released(Releases::iterator at, const server::Answer& answer) {
  const bool again = answer.error && answer.error->code() != Code::kServerStopped &&
                     loop_.clock.monotonic() + kReleaseRetryNs < at->until;
  if (!again) {
    absl::AnyInvocable<void()> done = std::move(at->done);
    releasing_.erase(at);
    if (done) done();
    return;
  }
  at->timer = loop_.timers.schedule(kReleaseRetryNs, loop_.port.loop(), [this, at] {
    to_release_.splice(to_release_.end(), releasing_, at);
    want_releases();
  });
}

// ---- reads ----

class InnerKv::Search final : public server::SteppedRead {
 public:
  explicit Search(Query query) : query_(std::move(query)) {}
  Result<> begin(std::shared_ptr<const mvcc::ReadView> view) {
    pb::RangeRequest r;
    r.key = query_.key;
    r.range_end = query_.range_end;
    r.keys_only = query_.keys_only;
    if (!query_.range_end.empty()) {
      r.sort_target = pb::RangeRequest::SortTarget::kCreate;
      r.sort_order =
          query_.youngest ? pb::RangeRequest::SortOrder::kDescend : pb::RangeRequest::SortOrder::kAscend;
      r.limit = static_cast<int64_t>(query_.limit);
      r.max_create_revision = query_.max_create_revision;
    }
    ASSIGN_OR_RETURN(server::RangeSteps steps, server::RangeSteps::start(std::move(view), r));
    range_.emplace(std::move(steps));
    return {};
  }
  Result<bool> step(server::StepBudget budget) override { return range_->step(budget); }
  void go_on(const std::shared_ptr<const mvcc::ReadView>& newest) override { range_->go_on(newest); }
  int64_t header_revision() const override { return range_->header_revision(); }
  size_t bytes_held() const override { return range_->bytes_held(); }
  server::AnswerParts take() override { return range_->take(); }
  Found found() {
    Found f{header_revision(), {}};
    std::string bytes;
    for (const Blob& part : take().parts) bytes += part.view();
    const auto response = wire::decode<pb::RangeResponse>(bytes);
    if (response) {
      for (const auto& kv : response->kvs) f.records.emplace_back(kv.bytes);
    }
    return f;
  }

 private:
  const Query query_;  // the scan has views into it
  std::optional<server::SteppedRange> range_;
};

void InnerKv::when_readable(grpc::Call& call, std::string_view key, std::string_view range_end,
                            absl::AnyInvocable<void(grpc::Call&, Result<>)> then) {
  if (!loop_.callers->enabled()) [[likely]]
    return then(call, {});
  loop_.callers->with_access(call,
                             [key = std::string(key), end = std::string(range_end), then = std::move(then)](
                                 grpc::Call& c, const Result<AccessRef>& access) mutable {
                               then(c, access ? (*access)->read(key, end) : Result<>(access.error()));
                             });
}

void InnerKv::find(grpc::Call& call, Query query, Freshness freshness, Then<Found> then) {
  const auto read = [this](grpc::Call& c, Query q, Then<Found> f) {
    if (!loop_.callers->enabled()) [[likely]]
      return search(c, std::move(q), nullptr, std::move(f));
    loop_.callers->with_access(c, [this, q = std::move(q), f = std::move(f)](
                                      grpc::Call& c2, const Result<AccessRef>& access) mutable {
      const Result<> ok = access ? (*access)->read(q.key, q.range_end) : Result<>(access.error());
      if (!ok) return f(c2, ok.error());
      search(c2, std::move(q), *access, std::move(f));
    });
  };
  if (freshness == Freshness::kApplied) return read(call, std::move(query), std::move(then));
  loop_.port.read_index(CallRef(call).then([read, query = std::move(query), then = std::move(then)](
                                               grpc::Call& c, const Result<>& confirmed) mutable {
    if (!confirmed) return then(c, confirmed.error());
    read(c, std::move(query), std::move(then));
  }));
}

Result<> InnerKv::may_show(const AccessRef& access) {
  return access ? loop_.callers->still_current(*access) : Result<>();
}

void InnerKv::search(grpc::Call& call, Query query, const AccessRef& access, Then<Found> then) {
  const bool single = query.range_end.empty();
  auto search = std::make_unique<Search>(std::move(query));
  if (Result<> ok = search->begin(loop_.member.view()); !ok) return then(call, ok.error());
  loop_.member.count_ranges(1);
  const auto end = [this, access](grpc::Call& c, Search& read, const Error* error, Then<Found>& f) {
    if (error != nullptr) return f(c, *error);
    if (Result<> ok = may_show(access); !ok) return f(c, ok.error());
    f(c, read.found());
  };
  if (single) {
    const Result<bool> done = search->step({});
    return end(call, *search, done ? nullptr : &done.error(), then);
  }
  // Its first step, too, is a turn: thousands may wake at once.
  long_reads_.add(
      call, std::move(search),
      [end, then = std::move(then)](grpc::Call& c, server::SteppedRead& read, const Error* error) mutable {
        end(c, static_cast<Search&>(read), error, then);
      });
}

void InnerKv::watch(grpc::Call& call, mvcc::WatchRequest request, InnerWatch::Owner& owner,
                    Then<std::unique_ptr<InnerWatch>> then) {
  if (!loop_.callers->enabled()) [[likely]]
    return then(call, std::make_unique<InnerWatch>(loop_, call, mailbox_, std::move(request), owner));
  loop_.callers->with_access(call, [this, request = std::move(request), &owner, then = std::move(then)](
                                       grpc::Call& c, const Result<AccessRef>& access) mutable {
    const Result<> ok = access ? (*access)->read(request.key, request.range_end) : Result<>(access.error());
    if (!ok) return then(c, ok.error());
    then(c, std::make_unique<InnerWatch>(loop_, c, mailbox_, std::move(request), owner));
  });
}

}  // namespace quoin::v3rpc
