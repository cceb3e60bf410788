// What a member does at fixed intervals: it revokes expired leases, publishes itself, follows cluster and
// storage version and downgrades, compacts, and checks its data. Lease renewals are here too, since they need
// the same parts.
//
// Threads: start(), post_stop() and renew() on any thread; the rest runs on the apply executor (raft's ticks
// do not: RaftStage::post_start_ticking). Source: spec raft-and-peers 30, 33; operations 2.1 (13), 8.1, 8.3.
#pragma once
#include <absl/functional/any_invocable.h>

#include <memory>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "base/log.h"
#include "base/result.h"
#include "io/executor.h"
#include "io/timer.h"
#include "server/answers.h"
#include "server/compactor.h"
#include "server/corruption_check.h"
#include "server/learner_promotion.h"
#include "server/member_versions.h"
#include "wire/raft_internal.h"

namespace quoin::server {

class Stages;

class Chores {
 public:
  explicit Chores(Stages& stages);
  ~Chores();

  // `ready` runs on `executor` once this member's name and URLs are in the log.
  void start(io::Executor& executor, Task ready);
  // On apply: a new leader's term has begun.
  void first_commit_in_term();
  // On apply: a received snapshot holds what was proposed here before it, and answers none of it. A member that
  // has not heard of its own publication publishes itself again, rather than serve a request timeout later.
  void snapshot_installed();
  // `done` runs on apply when no timer of this object will fire any more.
  void post_stop(Task done);
  // At the primary alone, for another member: Member::renew_here.
  void renew_here(LeaseId id, io::Executor& executor, RenewDone done);
  // What one round of a loop asked for; answered on `executor`. A member that does not lead asks the leader.
  void renew(std::vector<LeaseRenewal> renewals, io::Executor& executor);

 private:
  struct RenewalBatch;
  struct Renewal;
  using Request = wire::etcdserverpb::InternalRaftRequest;

  void every(std::unique_ptr<io::Timer>* slot, int64_t interval_ns, void (Chores::*work)());
  void revoke_expired();
  void checkpoint_leases();
  void sweep_tokens();
  void follow_versions();
  void monitor_cluster_version();
  void decide_cluster_version(const MemberVersions& servers);
  void monitor_downgrade();
  void end_downgrade(const MemberVersions& servers);
  void promote_learners();
  void compact();
  log::Field retention_field() const;
  std::string attributes_text() const;
  void publish();
  void start_advancing_ticks();
  void advance_ticks(int64_t left_ns);
  void raise_corrupt(MemberId member);
  // Proposes without waiting for the outcome, or with `done`, which runs on apply.
  // Gives it an id and a header.
  uint64_t begin_request(Request& request);
  void propose(Request& request, Term only_in_term = Term());
  void propose(Request& request, absl::AnyInvocable<void(std::optional<Error>)> done,
               Term only_in_term = Term());

  void renew_some(RenewalBatch batch);
  std::optional<Result<int64_t>> renewed_at_once(LeaseId id, io::MonotonicNs now);
  Index committed() const;
  bool surely_leading(io::MonotonicNs now) const;
  void confirm_leadership(std::shared_ptr<Renewal> renewal);
  void wait_applied(std::shared_ptr<Renewal> renewal);
  void renew_now(std::shared_ptr<Renewal> renewal);
  void renew_elsewhere(std::shared_ptr<Renewal> renewal);

  Stages& s_;
  bool stopped_ = false;
  uint64_t publication_ = 0;  // how often it was proposed
  bool published_ = false;
  bool asking_versions_ = false, asking_downgrade_ = false;
  io::Executor* ready_executor_ = nullptr;
  Task ready_;
  std::optional<Compactor> compactor_;
  std::unique_ptr<CorruptionCheck> corruption_check_;
  LearnerPromotion learner_promotion_;
  std::unique_ptr<io::Timer> lease_timer_, checkpoint_timer_, storage_timer_, version_timer_,
      downgrade_timer_, compact_timer_, publish_timer_, ticks_timer_, promotion_timer_;
};

}  // namespace quoin::server
