// What changes the cluster on request: members come, go, are promoted; leadership moves.
//
// The member that gets the call makes etcd's checks (--strict-reconfig-check) and proposes; apply checks again,
// the same on all members (membership::Membership::validate), and answers.
//
// A change that raft refuses, because another one is not applied yet, is not heard of again, as in etcd: only the
// caller's own time bounds the wait. When the caller has gone, Waiters::give_up() frees what waits.
//
// Threads: any; the work runs on apply, the answer on the executor given. Source: spec raft-and-peers 28,
// api-semantics 5.1.
#pragma once
#include <absl/functional/any_invocable.h>

#include <memory>
#include <vector>

#include "io/executor.h"
#include "io/timer.h"
#include "membership/membership.h"
#include "server/peers.h"
#include "server/raft_stage.h"

namespace quoin::server {

class Stages;

// The members after the change.
using MembersDone = absl::AnyInvocable<void(Result<std::vector<membership::Member>>)>;

class Admin {
 public:
  explicit Admin(Stages& stages) : s_(stages) {}

  // kAdd, kAddLearner, kUpdate, kRemove. `id` is Member::next_id(), under which the call waits.
  void change(uint64_t id, membership::Change change, io::Executor& executor, MembersDone done);
  // A learner becomes a voter. Only the leader knows whether it has caught up: other members ask it. `token`
  // goes with that question.
  void promote(uint64_t id, MemberId learner, std::string token, io::Executor& executor, MembersDone done);
  // The same at the leader alone: kNotLeader elsewhere. For those who ask it.
  void promote_here(uint64_t id, MemberId learner, io::Executor& executor, MembersDone done);
  // kNotLeader, kBadLeaderTransferee, kTimeoutLeaderTransfer.
  void move_leader(MemberId target, io::Executor& executor, absl::AnyInvocable<void(Result<>)> done);
  // Before a stop: a leader of several voters hands over to the one that can be reached longest. `done` runs on
  // `executor`, whatever came of it.
  void hand_over(io::Executor& executor, Task done);

 private:
  struct Promotion;
  Result<> check(const membership::Change& change) const;
  Result<> check_progress(MemberId learner, const std::vector<RaftStage::Follower>& followers) const;
  membership::Connected connected() const;
  // Calls `done` on apply.
  void propose(uint64_t id, const membership::Change& change, MembersDone done);
  // On apply: once everything that is committed is applied; kTimeoutWaitAppliedIndex.
  void when_caught_up(absl::AnyInvocable<void(Result<>)> done);
  void promote_locally(uint64_t id, MemberId learner, MembersDone done);
  void ask_leader_to_promote(MemberId learner, const std::string& token, MembersDone done);

  Stages& s_;
};

}  // namespace quoin::server
