// What changes the cluster on request: members come, go, are promoted; leadership moves.
//
// The member that gets the call makes etcd's checks (--strict-reconfig-check) and proposes; apply checks again,
// the same on all members (membership::Membership::validate), and answers.
//
// A change that raft refuses, because another one is not applied yet, is not heard of again, as in etcd: only the
// caller's own time bounds the wait. Each call waits under its id from its first line on: when the caller has gone,
// Waiters::give_up() frees what waits, at any time, and what was not proposed yet is not proposed any more.
//
// Threads: any; the work runs on apply, the answer on the executor given. Source: spec raft-and-peers 28,
// api-semantics 5.1.
#pragma once
#include <absl/functional/any_invocable.h>

#include <memory>
#include <string>
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
  // kNotLeader, kBadLeaderTransferee, kTimeoutLeaderTransfer.
  void move_leader(MemberId target, io::Executor& executor, absl::AnyInvocable<void(Result<>)> done);
  // On apply: once everything that is committed is applied; kTimeoutWaitAppliedIndex after a second.
  void when_caught_up(absl::AnyInvocable<void(Result<>)> done);
  // Before a stop: a leader of several voters hands over to the one that can be reached longest. `done` runs on
  // `executor`, whatever came of it.
  void hand_over(io::Executor& executor, Task done);

 private:
  // One call on its way, from its first line to its answer. Apply strand.
  struct Call {
    uint64_t id = 0;
    membership::Change change;
    bool proposed = false, forwarded = false;
    std::vector<membership::Member> members;  // as the leader told them, of one that was forwarded
  };
  using CallPtr = std::shared_ptr<Call>;
  // Any thread. Registers who waits.
  CallPtr begin(uint64_t id, membership::Change change, io::Executor& executor, MembersDone done);
  void answer(const CallPtr& call, Result<std::vector<membership::Member>> result);
  Result<> check(const membership::Change& change) const;
  Result<> check_progress(MemberId learner, const std::vector<RaftStage::Follower>& followers) const;
  membership::Connected connected() const;
  // Nothing, if nobody waits any more.
  void propose(const CallPtr& call);
  // `refused` runs with what keeps it from being proposed.
  void promote_locally(CallPtr call, absl::AnyInvocable<void(Error)> refused);
  void ask_leader_to_promote(const CallPtr& call, const std::string& token);

  Stages& s_;
};

}  // namespace quoin::server
