#include "server/admin.h"

#include <algorithm>

#include "base/coding.h"
#include "raft/codec.h"
#include "server/leader_question.h"
#include "server/stages.h"

namespace quoin::server {

namespace {

constexpr double kReadyPart = 0.9;               // of the leader's log, that a learner must have
constexpr int64_t kHealthyNs = 5 * io::kSecond;  // connected for so long counts
constexpr int64_t kCaughtUpNs = 1 * io::kSecond;
constexpr int64_t kPromoteRetryNs = 50 * io::kMillisecond;  // etcd asks without a pause

// As Go prints the member.
std::string member_text(const membership::Member& m) {
  return fmt::format(
      "{{ID:{} RaftAttributes:{{PeerURLs:[{}] IsLearner:{}}} Attributes:{{Name:{} ClientURLs:[{}]}}}}",
      hex(m.id.v), fmt::join(m.peer_urls, " "), m.is_learner, m.name, fmt::join(m.client_urls, " "));
}

std::string_view conf_change_name(raft::ConfChangeType type) {
  switch (type) {
    case raft::ConfChangeType::kAddNode:
      return "ConfChangeAddNode";
    case raft::ConfChangeType::kRemoveNode:
      return "ConfChangeRemoveNode";
    case raft::ConfChangeType::kUpdateNode:
      return "ConfChangeUpdateNode";
    case raft::ConfChangeType::kAddLearnerNode:
      return "ConfChangeAddLearnerNode";
  }
  return "";
}

template <class Done>
auto on_executor(io::Executor& executor, Done done) {
  return [&executor, done = std::move(done)](auto result) mutable {
    executor.post(
        [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  };
}

}  // namespace

membership::Connected Admin::connected() const {
  const io::MonotonicNs now = s_.env.clock.monotonic();
  return {.self = s_.self,
          .active = [this](MemberId id) { return s_.peers.active_since(id).has_value(); },
          .long_active =
              [this, now](MemberId id) {
                const auto since = s_.peers.active_since(id);
                return since && *since <= now - kHealthyNs;
              }};
}

Result<> Admin::check(const membership::Change& change) const {
  if (!s_.config.strict_reconfig_check) return {};
  const auto members = s_.apply.members();
  const membership::Connected connected = this->connected();
  const log::Field local{"local-member-id", log::Hex{s_.self.v}};
  switch (change.kind) {
    case membership::ChangeKind::kAdd:
    case membership::ChangeKind::kAddLearner: {
      membership::Member added = change.member;
      added.is_learner = change.kind == membership::ChangeKind::kAddLearner;
      const Result<> ok = membership::check_add(*members, added.is_learner, connected);
      if (ok) return {};
      LOG(s_.env.log, kWarn,
          ok.error().code() == Code::kUnhealthy
              ? "rejecting member add request; local member has not been connected to majority peers, "
                "reconfigure breaks active quorum"
              : "rejecting member add request; not enough healthy members",
          local, {"requested-member-add", member_text(added)}, {"error", ok.error().text()});
      return ok;
    }
    case membership::ChangeKind::kRemove: {
      const std::string id = hex(change.member.id.v);
      const Result<> ok = membership::check_remove(*members, change.member.id, connected);
      if (ok) return {};
      if (ok.error().code() != Code::kUnhealthy) {
        LOG(s_.env.log, kWarn, "rejecting member remove request; not enough healthy members", local,
            {"requested-member-remove-id", id}, {"error", ok.error().text()});
        return ok;
      }
      const auto voters = members->voters();
      const auto active = std::ranges::count_if(
          voters, [&](MemberId voter) { return voter == s_.self || connected.long_active(voter); });
      LOG(s_.env.log, kWarn,
          "rejecting member remove request; local member has not been connected to all peers, reconfigure "
          "breaks active quorum",
          local, {"requested-member-remove", id}, {"active-peers", active}, {"error", ok.error().text()});
      return ok;
    }
    case membership::ChangeKind::kPromote: {
      const Result<> ok = membership::check_promote(*members, change.member.id);
      if (ok) return {};
      LOG(s_.env.log, kWarn, "rejecting member promote request; not enough healthy members", local,
          {"requested-member-remove-id", hex(change.member.id.v)}, {"error", ok.error().text()});
      return ok;
    }
    case membership::ChangeKind::kUpdate:
      return {};
  }
  return {};
}

Admin::CallPtr Admin::begin(uint64_t id, membership::Change change, io::Executor& executor,
                            MembersDone done) {
  auto call = std::make_shared<Call>();
  call->id = id;
  call->change = std::move(change);
  Waiter waiter;
  waiter.executor = &s_.env.apply;
  waiter.since = s_.env.clock.monotonic();
  waiter.patient = true;
  waiter.done = [this, call, reply = on_executor(executor, std::move(done))](Answer a) mutable {
    if (call->proposed && (!a.error || a.error->code() != Code::kServerStopped)) {
      LOG(s_.env.log, kInfo, "applied a configuration change through raft",
          {"local-member-id", log::Hex{s_.self.v}},
          {"raft-conf-change", conf_change_name(membership::encode_change(call->change).type)},
          {"raft-conf-change-node-id", log::Hex{a.error ? 0 : call->change.member.id.v}});
    }
    // One that was forwarded is counted where it was decided.
    if (call->change.kind == membership::ChangeKind::kPromote && !call->forwarded)
      s_.metrics.promotion(a.error);
    if (a.error) return reply(Result<std::vector<membership::Member>>(*a.error));
    reply(Result<std::vector<membership::Member>>(call->forwarded ? std::move(call->members)
                                                                  : s_.apply.members()->list()));
  };
  s_.waiters.add(id, std::move(waiter));
  return call;
}

void Admin::answer(const CallPtr& call, Result<std::vector<membership::Member>> result) {
  std::optional<Waiter> waiter = s_.waiters.take(call->id);
  if (!waiter) return;
  Answer answer;
  if (result) {
    call->members = std::move(*result);
  } else {
    answer.error = result.error();
  }
  waiter->done(std::move(answer));
}

void Admin::change(uint64_t id, membership::Change change, io::Executor& executor, MembersDone done) {
  CallPtr call = begin(id, std::move(change), executor, std::move(done));
  s_.env.apply.post([this, call = std::move(call)] {
    if (s_.apply.stopped()) return answer(call, Error(Code::kServerStopped));
    if (const Result<> ok = check(call->change); !ok) return answer(call, ok.error());
    propose(call);
  });
}

void Admin::propose(const CallPtr& call) {
  if (!s_.waiters.waiting(call->id)) return;
  call->proposed = true;
  raft::ConfChange cc = membership::encode_change(call->change);
  cc.id = call->id;
  std::vector<Proposal> one;
  one.push_back({.id = call->id,
                 .data = raft::encode_blob(cc),
                 .only_in_term = {},
                 .awaited = true,
                 .patient = true,
                 .type = raft::EntryType::kConfChange});
  s_.raft.post_proposals(std::move(one));
}

// ---- promotion ----

void Admin::when_caught_up(absl::AnyInvocable<void(Result<>)> done) {
  struct Wait {
    absl::AnyInvocable<void(Result<>)> done;
    std::unique_ptr<io::Timer> timeout;
    bool over = false;
  };
  const Index committed(s_.raft.progress().committed.load(std::memory_order_acquire));
  if (s_.apply.applied() >= committed) return done({});
  auto wait = std::make_shared<Wait>();
  wait->done = std::move(done);
  wait->timeout = s_.env.timers.schedule(kCaughtUpNs, s_.env.apply, [wait = wait.get()] {
    wait->over = true;
    wait->done(Error(Code::kTimeoutWaitAppliedIndex));
  });
  s_.apply.when_applied(committed, [wait] {
    if (wait->over) return;
    wait->timeout.reset();
    wait->done({});
  });
}

Result<> Admin::check_progress(MemberId learner, const std::vector<RaftStage::Follower>& followers) const {
  if (followers.empty()) return Error(Code::kNotLeader);
  const auto of = [&](MemberId id) { return std::ranges::find(followers, id, &RaftStage::Follower::id); };
  if (of(learner) == followers.end()) return Error(Code::kMemberNotFound);
  const auto leader = of(s_.self);
  if (leader == followers.end()) return Error(Code::kNotLeader);
  const double part = static_cast<double>(of(learner)->match.v) / static_cast<double>(leader->match.v);
  if (part >= kReadyPart) return {};
  LOG(s_.env.log, kError, "rejecting promote learner: learner is not ready",
      {"learner-ready-percent", fmt::format("{}", part)},
      {"ready-percent-threshold", fmt::format("{}", kReadyPart)});
  return Error(Code::kLearnerNotReady);
}

void Admin::promote_locally(CallPtr call, absl::AnyInvocable<void(Error)> refused) {
  when_caught_up([this, call = std::move(call), refused = std::move(refused)](Result<> caught_up) mutable {
    if (!caught_up) return refused(caught_up.error());
    s_.raft.post_followers(s_.env.apply, [this, call = std::move(call), refused = std::move(refused)](
                                             std::vector<RaftStage::Follower> followers) mutable {
      if (s_.apply.stopped()) return refused(Error(Code::kServerStopped));
      Result<> ok = check_progress(call->change.member.id, followers);
      if (ok) ok = check(call->change);
      if (!ok) return refused(ok.error());
      propose(call);
    });
  });
}

void Admin::promote(uint64_t id, MemberId learner, std::string token, io::Executor& executor,
                    MembersDone done) {
  membership::Change change;
  change.kind = membership::ChangeKind::kPromote;
  change.member.id = learner;
  CallPtr call = begin(id, std::move(change), executor, std::move(done));
  s_.env.apply.post([this, call = std::move(call), token = std::move(token)]() mutable {
    if (s_.apply.stopped()) return answer(call, Error(Code::kServerStopped));
    promote_locally(call, [this, call, token = std::move(token)](const Error& error) {
      if (error.code() != Code::kNotLeader) return answer(call, error);
      ask_leader_to_promote(call, token);
    });
  });
}

void Admin::ask_leader_to_promote(const CallPtr& call, const std::string& token) {
  PeerRequest request;
  request.method = "POST";
  request.path = fmt::format("/members/promote/{}", call->change.member.id.v);
  if (!token.empty()) request.fields.emplace_back("Authorization", token);
  call->forwarded = true;
  LeaderQuestion::ask(
      s_, std::move(request), s_.config.request_timeout_ns(), kPromoteRetryNs,
      [this, call](const PeerAnswer& reply) {
        if (!s_.waiters.waiting(call->id)) return true;
        const auto says = [&](Code code) { return reply.body.find(Error(code).text()) != std::string::npos; };
        if (reply.status == 200) {
          auto members = membership::parse_members(reply.body);
          if (!members) return false;
          answer(call, std::move(*members));
        } else if (reply.status == 404) {
          answer(call, Error(Code::kMemberNotFound));
        } else if (reply.status == 412 && says(Code::kLearnerNotReady)) {
          answer(call, Error(Code::kLearnerNotReady));
        } else if (reply.status == 412 && reply.body.find(membership::refusal_text(
                                              membership::Refusal::kNotLearner)) != std::string::npos) {
          answer(call, Error(Code::kMemberNotLearner));
        } else {
          return false;
        }
        return true;
      },
      [this, call](Error error) { answer(call, std::move(error)); });
}

// ---- leadership ----

void Admin::move_leader(MemberId target, io::Executor& executor, absl::AnyInvocable<void(Result<>)> done) {
  s_.raft.post_transfer(target, executor, std::move(done));
}

void Admin::hand_over(io::Executor& executor, Task done) {
  s_.env.apply.post([this, &executor, done = std::move(done)]() mutable {
    const MemberId leader(s_.raft.progress().lead.load(std::memory_order_relaxed));
    const log::Field local{"local-member-id", log::Hex{s_.self.v}};
    const log::Field current{"current-leader-member-id", log::Hex{leader.v}};
    const auto skip = [&](std::string_view why) {
      LOG(s_.env.log, kInfo, why, local, current);
      executor.post(std::move(done));
    };
    if (leader != s_.self) return skip("skipped leadership transfer; local server is not leader");
    const auto voters = s_.apply.members()->voters();
    if (voters.size() <= 1) return skip("skipped leadership transfer for single voting member cluster");
    MemberId target;
    io::MonotonicNs longest = INT64_MAX;
    for (const MemberId id : voters) {
      const auto since = id == s_.self ? std::nullopt : s_.peers.active_since(id);
      if (!since || *since >= longest) continue;
      target = id;
      longest = *since;
    }
    const auto failed = [this, local](const Error& error) {
      LOG(s_.env.log, kWarn, "leadership transfer failed", local, {"error", error.text()});
    };
    if (!target) {
      failed(Error(Code::kUnhealthy));
      return executor.post(std::move(done));
    }
    LOG(s_.env.log, kInfo, "leadership transfer starting", local, current,
        {"transferee-member-id", log::Hex{target.v}});
    const io::MonotonicNs begin = s_.env.clock.monotonic();
    s_.raft.post_transfer(
        target, s_.env.apply,
        [this, local, failed, target, begin, &executor, done = std::move(done)](Result<> moved) mutable {
          if (moved) {
            LOG(s_.env.log, kInfo, "leadership transfer finished", local,
                {"old-leader-member-id", log::Hex{s_.self.v}}, {"new-leader-member-id", log::Hex{target.v}},
                {"took", log::Duration{s_.env.clock.monotonic() - begin}});
          } else {
            failed(moved.error());
          }
          executor.post(std::move(done));
        });
  });
}

}  // namespace quoin::server
