#include "server/applier.h"

#include "base/coding.h"
#include "server/range.h"
#include "server/txn.h"
#include "wire/message.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;

namespace {

// What an entry's content and the replicated state can come to. Everything else is a fault of this member
// alone: to go on would let it differ from the others.
bool is_refusal(Code code) {
  switch (code) {
    case Code::kKeyNotFound:
    case Code::kLeaseNotFound:
    case Code::kLeaseExist:
    case Code::kLeaseTtlTooLarge:
    case Code::kCompacted:
    case Code::kFutureRev:
    case Code::kInvalidArgument:
    case Code::kRootUserNotExist:
    case Code::kRootRoleNotExist:
    case Code::kUserExist:
    case Code::kUserEmpty:
    case Code::kUserNotFound:
    case Code::kRoleExist:
    case Code::kRoleNotFound:
    case Code::kRoleEmpty:
    case Code::kAuthFailed:
    case Code::kNoPasswordUser:
    case Code::kPermissionNotGiven:
    case Code::kPermissionDenied:
    case Code::kRoleNotGranted:
    case Code::kPermissionNotGranted:
    case Code::kAuthNotEnabled:
    case Code::kAuthOldRevision:
    case Code::kInvalidAuthMgmt:
      return true;
    default:
      return false;
  }
}

template <class Response>
std::string body_of(const Response& response) {
  return wire::encode_string(response);
}

}  // namespace

void LeaseGlue::delete_keys(std::span<const std::string> keys) {
  mvcc::WriteTxn& txn = store_->begin();
  for (const std::string& key : keys) {
    Result<int64_t> r = txn.delete_range(key, {});
    if (!r) fault_ = r.error();
  }
  store_->end();
}

struct Applier::Probe {
  explicit Probe(metrics::Registry& registry) : registry_(registry) {}
  // A series exists once it has been counted, as in etcd.
  metrics::Gauge& alarms(MemberId member, int32_t type) {
    metrics::Gauge*& g = alarms_[{member, type}];
    if (g == nullptr) {
      const char* name = type == kAlarmNospace ? "NOSPACE" : type == kAlarmCorrupt ? "CORRUPT" : "NONE";
      g = &registry_.gauge("etcd_debugging_server_alarms",
                           "Alarms for every member in cluster. 1 for 'server_id' "
                           "label with current ID. 2 for 'alarm_type' label with type of this alarm",
                           {{"server_id", hex(member.v)}, {"alarm_type", name}});
    }
    return *g;
  }

 private:
  metrics::Registry& registry_;
  std::map<std::pair<MemberId, int32_t>, metrics::Gauge*> alarms_;
};

Applier::Applier(Parts parts)
    : p_(std::move(parts)),
      lease_exists_([&lessor = p_.lessor](LeaseId id) { return lessor.exists(id); }),
      probe_(new Probe(p_.metrics)) {}
Applier::~Applier() = default;

Applier::Outcome Applier::apply(const Request& request, Index entry, bool wanted, Later later) {
  Outcome out;
  if (auto refused = refused_by_alarm(request)) {
    out.answer.error = std::move(refused);
    return out;
  }
  if (p_.auth.enabled()) {
    if (Result<> allowed = check(request); !allowed) {
      out.answer.error = allowed.error();
      return out;
    }
  }
  const bool over = over_quota(request);
  out = dispatch(request, entry, wanted, later);
  conclude(over, &out);
  return out;
}

Result<> Applier::check(const Request& request) {
  if (std::exchange(checked_.request, nullptr) == &request) return std::move(checked_.verdict);
  AuthApply::Check check(p_.auth, request);
  return *check.step(SIZE_MAX);
}

bool Applier::over_quota(const Request& request) const {
  uint64_t cost = 0;
  if (request.put) cost = put_cost(*request.put);
  if (request.txn) cost = txn_cost(*request.txn);
  if (request.lease_grant) cost = kLeaseGrantCost;
  return cost > 0 && !p_.quota.fits(p_.backend.size(), cost);
}

void Applier::conclude(bool over, Outcome* out) const {
  if (out->answer.error && !is_refusal(out->answer.error->code())) out->fault = out->answer.error;
  out->raise_nospace = over && !out->answer.error && !p_.alarms.active(kAlarmNospace);
}

// ---- large requests ----

size_t Applier::work_of(const Request& r) {
  checked_.request = nullptr;
  if (p_.auth.enabled()) {
    AuthApply::Check check(p_.auth, r);
    auto verdict = check.step();
    if (!verdict) return kKeysPerStep + 1;
    checked_ = {&r, std::move(*verdict)};
    if (!checked_.verdict) return 1;
  }
  return keys_of_request(r);
}

size_t Applier::keys_of_request(const Request& r, bool wanted) const {
  if (r.put) return 1;
  if (r.delete_range) return keys_of(p_.store, *r.delete_range);
  if (r.txn) return keys_of(p_.store, *r.txn);
  if (r.lease_revoke) return p_.lessor.key_count(LeaseId(r.lease_revoke->id));
  return p_.auth.is_large(r, wanted) ? kKeysPerStep + 1 : 1;
}

void Applier::begin_large(const Request& r, Index entry, bool wanted) {
  large_.emplace(Large{.request = r, .entry = entry, .wanted = wanted});
  if (auto refused = refused_by_alarm(r)) {
    large_->refused.emplace().answer.error = std::move(refused);
    return;
  }
  if (p_.auth.enabled()) {
    large_->check = std::make_unique<AuthApply::Check>(p_.auth, r);
  } else {
    large_->steps = large_request(r, wanted);
  }
  large_->over = over_quota(r);
}

std::unique_ptr<LargeRequest> Applier::large_request(const Request& r, bool wanted) {
  if (!large(keys_of_request(r, wanted))) return nullptr;
  if (r.delete_range) return std::make_unique<LargeDeletion>(p_.store, *r.delete_range, wanted);
  if (r.txn) return std::make_unique<LargeTxn>(p_.store, lease_exists_, *r.txn, wanted);
  if (r.lease_revoke) {
    return std::make_unique<LargeRevocation>(p_.store, p_.lessor, LeaseId(r.lease_revoke->id));
  }
  return p_.auth.large(r, p_.store.revision());
}

std::optional<Applier::Outcome> Applier::step_large() {
  std::optional<Outcome> out;
  if (large_->check) {
    const auto verdict = large_->check->step();
    if (!verdict) return std::nullopt;
    large_->check.reset();
    if (*verdict) {
      large_->steps = large_request(large_->request, large_->wanted);
      return std::nullopt;
    }
    large_->refused.emplace().answer.error = verdict->error();
  }
  if (large_->refused) {
    out = std::move(*large_->refused);
  } else if (!large_->steps) {
    // What took long was the check.
    Later nobody = [](Answer) {};
    out = dispatch(large_->request, large_->entry, large_->wanted, nobody);
    conclude(large_->over, &*out);
  } else {
    auto done = large_->steps->step(kKeysPerStep);
    if (done && !*done) return std::nullopt;
    out.emplace();
    out->shown = large_->steps->full_header() ? Outcome::Shown::kFullHeader : Outcome::Shown::kRevision;
    if (done) {
      out->answer = large_->steps->take_answer();
    } else {
      out->answer.error = done.error();
      if (!large_->steps->full_header()) out->shown = Outcome::Shown::kNoResponse;
    }
    conclude(large_->over, &*out);
  }
  large_.reset();
  return out;
}

std::optional<Error> Applier::refused_by_alarm(const Request& r) const {
  if (p_.alarms.active(kAlarmCorrupt) &&
      (r.put || r.range || r.delete_range || r.txn || r.compaction || r.lease_grant || r.lease_revoke)) {
    return Error(Code::kCorrupt);
  }
  if (p_.alarms.active(kAlarmNospace) && (r.put || r.lease_grant || (r.txn && txn_cost(*r.txn) > 0))) {
    return Error(Code::kNoSpace);
  }
  return std::nullopt;
}

Applier::Outcome Applier::dispatch(const Request& r, Index entry, bool wanted, Later& later) {
  Outcome out;
  using Shown = Outcome::Shown;
  out.shown = Shown::kRevision;
  if (r.put) {
    out.answer = put(*r.put, wanted);
  } else if (r.txn) {
    out.answer = txn(*r.txn, wanted);
  } else if (r.delete_range) {
    out.answer = delete_range(*r.delete_range, wanted);
  } else if (r.compaction) {
    return compact(*r.compaction, later);
  } else if (r.lease_grant) {
    out.answer = lease_grant(*r.lease_grant);
    out.shown = out.answer.error ? Shown::kNoHeader : Shown::kFullHeader;
    return out;
  } else if (r.lease_revoke) {
    out.answer = lease_revoke(*r.lease_revoke);
    out.shown = Shown::kFullHeader;
    return out;
  } else if (r.lease_checkpoint) {
    out.answer = lease_checkpoint(*r.lease_checkpoint);
    out.shown = Shown::kFullHeader;
    return out;
  } else if (r.alarm) {
    out.answer = alarm(*r.alarm);
    out.shown = out.answer.error ? Shown::kNoResponse : Shown::kNoHeader;
    return out;
  } else if (r.range) {
    out.answer = range(*r.range, wanted);
  } else if (AuthApply::is_auth(r)) {
    if (!wanted && AuthApply::is_question(r)) return out;
    out.answer = p_.auth.apply(r, entry);
    out.answer.revision = p_.store.revision();
    if (!out.answer.error) out.shown = Shown::kFullHeader;
  } else {
    out.shown = Shown::kNoResponse;
    if (r.downgrade_version_test) return out;
    // A member that skips an entry others apply would diverge in silence.
    out.answer.error = Error(Code::kUnsupported, "a request that this version does not know");
  }
  if (out.answer.error) out.shown = Shown::kNoResponse;
  return out;
}

Answer Applier::put(const pb::PutRequest& r, bool wanted) {
  if (r.lease != 0 && !p_.lessor.exists(LeaseId(r.lease))) return {.error = Error(Code::kLeaseNotFound)};
  mvcc::PutRequest put;
  put.key = r.key;
  put.value = r.value;
  put.lease = LeaseId(r.lease);
  put.ignore_value = r.ignore_value;
  put.ignore_lease = r.ignore_lease;
  put.prev_kv = r.prev_kv && wanted;
  mvcc::WriteTxn& txn = p_.store.begin();
  Answer answer;
  if (auto result = txn.put(put)) {
    if (result->prev_kv) {
      pb::PutResponse response;
      response.prev_kv = wire::Raw<wire::mvccpb::KeyValue>{*result->prev_kv};
      answer.body = body_of(response);
    }
  } else {
    answer.error = result.error();
  }
  answer.revision = p_.store.end();
  return answer;
}

Answer Applier::delete_range(const pb::DeleteRangeRequest& r, bool wanted) {
  pb::DeleteRangeResponse response;
  mvcc::KvVisitor prev;
  if (r.prev_kv && wanted) {
    prev = [&](std::string_view encoded) {
      response.prev_kvs.push_back({encoded});
      return true;
    };
  }
  mvcc::WriteTxn& txn = p_.store.begin();
  Answer answer;
  if (auto deleted = txn.delete_range(r.key, r.range_end, prev)) {
    response.deleted = *deleted;
    answer.count = *deleted;
    // Encoded before the transaction ends: what went is still readable.
    answer.body = body_of(response);
  } else {
    answer.error = deleted.error();
  }
  answer.revision = p_.store.end();
  return answer;
}

Answer Applier::txn(const pb::TxnRequest& r, bool wanted) {
  Answer answer;
  auto result = run_write_txn(p_.store, lease_exists_, r, wanted ? &answer.body : nullptr);
  if (result) {
    answer.revision = result->revision;
    answer.count = result->succeeded ? 1 : 0;
  } else {
    answer.error = result.error();
  }
  return answer;
}

// etcd proposes no Range any more, but an old log may hold one.
Answer Applier::range(const pb::RangeRequest& r, bool wanted) {
  Answer answer;
  if (!wanted) return answer;
  auto reply = read_range(p_.store.publish(), r);
  if (!reply) return {.error = reply.error()};
  answer.revision = reply->header_revision;
  answer.body = body_of(reply->response);
  return answer;
}

Applier::Outcome Applier::compact(const pb::CompactionRequest& r, Later& later) {
  Outcome out;
  auto shared = std::make_shared<Later>(std::move(later));
  // The commit that a stop makes comes when this and the store are gone.
  auto answer_now = [this, shared, alive = std::weak_ptr<int>(alive_)] {
    if (!alive.expired()) (*shared)({.revision = p_.store.revision()});
  };
  std::function<void()> scheduled, finished;
  if (r.physical) {
    // The records are gone from the file once a commit after the last step is durable.
    // Where a received snapshot replaces the state, nobody waits any longer.
    finished = [this, answer_now, alive = std::weak_ptr<int>(alive_)] {
      if (alive.expired()) return;
      if (p_.backend.closing()) return answer_now();
      p_.backend.commit(answer_now);
    };
  } else {
    scheduled = answer_now;
  }
  Result<> started = p_.store.compact(r.revision, std::move(scheduled), std::move(finished));
  if (started) {
    out.deferred = true;
    out.shown = Outcome::Shown::kRevision;
    out.answer.revision = p_.store.revision();
    return out;
  }
  if (r.physical && started.error().code() == Code::kCompacted) {
    p_.store.when_compactions_finished([shared, error = started.error()] { (*shared)({.error = error}); });
    out.deferred = true;
    return out;
  }
  out.answer.error = started.error();
  return out;
}

Answer Applier::lease_grant(const pb::LeaseGrantRequest& r) {
  auto ttl = p_.lessor.grant(LeaseId(r.id), r.ttl);
  if (!ttl) return {.error = ttl.error()};
  pb::LeaseGrantResponse response;
  response.id = r.id;
  response.ttl = *ttl;
  return {.revision = p_.store.revision(), .body = body_of(response)};
}

Answer Applier::lease_revoke(const pb::LeaseRevokeRequest& r) {
  if (Result<> revoked = p_.lessor.revoke(LeaseId(r.id)); !revoked) return {.error = revoked.error()};
  if (auto fault = p_.glue.take_fault()) return {.error = std::move(fault)};
  return {.revision = p_.store.revision()};
}

Answer Applier::lease_checkpoint(const pb::LeaseCheckpointRequest& r) {
  const bool persist = p_.persist_checkpoints();
  for (const pb::LeaseCheckpoint& c : r.checkpoints) {
    Result<> done = p_.lessor.checkpoint({LeaseId(c.id), c.remaining_ttl}, persist);
    if (!done) return {.error = done.error()};
  }
  return {.revision = p_.store.revision()};
}

Answer Applier::alarm(const pb::AlarmRequest& r) {
  using Action = pb::AlarmRequest::AlarmAction;
  const Alarm alarm{MemberId(r.member_id), static_cast<int32_t>(r.alarm)};
  std::vector<Alarm> shown;
  switch (r.action) {
    case Action::kGet:
      shown = p_.alarms.list(alarm.type);
      break;
    case Action::kActivate:
      if (alarm.type == kAlarmNone) break;
      if (p_.alarms.activate(alarm)) {
        LOG(p_.log, kWarn, "alarm raised", {"alarm", alarm.type == kAlarmNospace ? "NOSPACE" : "CORRUPT"},
            {"from", log::Hex{alarm.member.v}});
      }
      probe_->alarms(alarm.member, alarm.type).add(1);
      shown.push_back(alarm);
      break;
    case Action::kDeactivate:
      if (!p_.alarms.deactivate(alarm)) break;
      LOG(p_.log, kWarn, "alarm disarmed", {"alarm", alarm.type == kAlarmNospace ? "NOSPACE" : "CORRUPT"},
          {"from", log::Hex{alarm.member.v}});
      probe_->alarms(alarm.member, alarm.type).add(-1);
      shown.push_back(alarm);
      break;
    default:
      // etcd dies here, and on every replay.
      return {.error = make_error(Code::kInvalidArgument, "etcdserver: unknown alarm action {}",
                                  static_cast<int32_t>(r.action))};
  }
  pb::AlarmResponse response;
  for (const Alarm& a : shown) {
    pb::AlarmMember& m = response.alarms.emplace_back();
    m.member_id = a.member.v;
    m.alarm = static_cast<pb::AlarmType>(a.type);
  }
  return {.revision = p_.store.revision(), .body = body_of(response)};
}

}  // namespace quoin::server
