#include "server/member.h"

#include "failpoint/failpoint.h"
#include "server/bootstrap.h"
#include "server/corruption_check.h"
#include "server/hash_run.h"
#include "server/leader_lease.h"
#include "server/lease_questions.h"
#include "server/stages.h"
#include "server/start_progress.h"

namespace quoin::server {

namespace {

// Lines about a defragmentation at the start, until the timer goes.
struct TellOfDefragmentation {
  explicit TellOfDefragmentation(Stages& s)
      : stages(s), progress("defragmenting the database", s.env.log, s.env.clock) {
    schedule();
  }
  void schedule() {
    timer = stages.env.timers.schedule(StartProgress::kIntervalNs, stages.env.apply, [this] {
      progress.goes_on();
      schedule();
    });
  }
  Stages& stages;
  StartProgress progress;
  std::unique_ptr<io::Timer> timer;
};

}  // namespace

Result<std::unique_ptr<Member>> Member::start(Config config, Environment env) {
  ASSIGN_OR_RETURN(Bootstrapped b, bootstrap(config, env));
  RaftStageOptions options = raft_stage_options(config, b.self);
  TRY(raft::validate(options.raft));
  const std::vector<raft::Peer> founders = std::move(b.founders);
  auto stages = std::make_unique<Stages>(std::move(config), env, std::move(options), std::move(b));
  if (!founders.empty()) TRY(stages->raft.bootstrap(founders));
  std::unique_ptr<Member> member(new Member());
  member->stages_ = std::move(stages);
  return member;
}

Result<> Member::check_data() {
  Stages& s = *stages_;
  if (!s.restarted || !s.config.initial_corrupt_check) return {};
  return CorruptionCheck::initial_check(s);
}

Member::Member() = default;
Member::~Member() = default;

void Member::run(io::Executor& executor, Task ready, std::function<void(Error)> failed) {
  Stages& s = *stages_;
  if (!s.report_failures_to(std::move(failed))) return;
  auto go = [&s, &executor, ready = std::move(ready)]() mutable {
    s.appender.post_start_purging();
    s.env.apply.post([&s] { s.add_peers(); });
    // A member alone need not wait for its election timeout.
    if (s.alone) s.raft.advance_ticks(s.config.election_ticks() - 1);
    s.chores.start(executor, std::move(ready));
  };
  Task begin = std::move(go);
  if (s.defragment_at_start) {
    // Before anything is applied or served.
    begin = [&s, go = std::make_shared<Task>(std::move(begin))] {
      s.env.apply.post([&s, go] {
        if (s.apply.stopped()) return;
        auto telling = std::make_shared<TellOfDefragmentation>(s);
        s.apply.backend().defragment([&s, go, telling](Result<> done) {
          telling->timer.reset();
          if (!done) return s.failed(done.error());
          std::move (*go)();
        });
      });
    };
  }
  // Ahead of whatever raft may hand to the log. What was forced is a configuration change, so all else waits for it.
  if (!s.forced.empty()) {
    s.appender.post_made_up(s.made_up, std::exchange(s.forced, {}), std::move(begin));
  } else {
    if (!s.made_up.empty()) s.appender.post_made_up(s.made_up, {}, nullptr);
    std::move(begin)();
  }
}

void Member::stop(io::Executor& executor, Task done) {
  Stages& s = *stages_;
  s.logins.passwords().close();
  s.hash_runs.stop();
  s.chores.post_stop([&s, &executor, done = std::move(done)]() mutable {
    s.raft.post_stop(s.env.append, [&s, &executor, done = std::move(done)](raft::HardState hs) mutable {
      s.appender.post_close(hs, s.env.apply, [&s, &executor, done = std::move(done)]() mutable {
        s.apply.stop(executor, std::move(done));
      });
    });
  });
}

// ---- questions, any thread ----

MemberId Member::id() const {
  return stages_->self;
}
ClusterId Member::cluster_id() const {
  return stages_->cluster_id;
}
const Config& Member::config() const {
  return stages_->config;
}
uint64_t Member::next_id() {
  return stages_->ids.next();
}
Term Member::term() const {
  return Term(stages_->raft.progress().term.load(std::memory_order_relaxed));
}
MemberId Member::leader() const {
  return MemberId(stages_->raft.progress().lead.load(std::memory_order_relaxed));
}

bool Member::learner() const {
  // etcd asks the same of each request: whether this member is still one, and then whether it is a learner.
  FAILPOINT(afterIsMemberExist);
  if (!stages_->apply.any_learner()) return false;
  const auto members = stages_->apply.members();
  const membership::Member* self = members->member(stages_->self);
  return self != nullptr && self->is_learner;
}

std::shared_ptr<const mvcc::ReadView> Member::view() const {
  return stages_->apply.view();
}

int64_t Member::revision() const {
  return stages_->apply.revision();
}

MemberStatus Member::status() const {
  Stages& s = *stages_;
  const RaftProgress& p = s.raft.progress();
  const auto members = s.apply.members();
  MemberStatus out;
  out.term = term();
  out.leader = leader();
  out.committed = Index(p.committed.load(std::memory_order_relaxed));
  out.applied = s.raft.applied();
  out.learner = learner();
  out.db_size = s.apply.backend_size();
  out.db_size_in_use = s.apply.backend_size_in_use();
  out.db_quota = s.quota.limit();
  out.storage_version = s.apply.storage_version();
  out.cluster_version = cluster_version();
  out.alarms = s.apply.alarms();
  out.downgrade_enabled = members->downgrade.enabled;
  out.downgrade_target = members->downgrade.target;
  return out;
}

std::vector<membership::Member> Member::members() const {
  return stages_->apply.members()->list();
}

std::string Member::cluster_version() const {
  const auto version = stages_->apply.members()->version;
  return version ? version->text() : std::string();
}

std::optional<std::string> parse_target_version(std::string_view version) {
  auto v = membership::parse_downgrade_target(version);
  if (!v) return std::nullopt;
  return v->text();
}

Result<std::string> Member::check_downgrade(std::string_view version) const {
  ASSIGN_OR_RETURN(const membership::Version target, membership::parse_downgrade_target(version));
  const auto members = stages_->apply.members();
  TRY(membership::check_downgrade(members->version, target, members->downgrade));
  return target.text();
}

bool Member::quota_allows(uint64_t cost) const {
  return stages_->quota.fits(stages_->apply.backend_size(), cost);
}

void Member::count_ranges(size_t ranges) {
  stages_->apply.count_ranges(ranges);
}

SlowRequests& Member::slow_requests() {
  return stages_->slow_requests;
}

bool Member::overloaded() const {
  const uint64_t committed = stages_->raft.progress().committed.load(std::memory_order_relaxed);
  return committed > stages_->raft.applied().v + ApplyStage::kGapMax;
}

Index Member::applied() const {
  return stages_->raft.applied();
}

Logins& Member::logins() {
  return stages_->logins;
}

// ---- work on apply ----

void Member::on_apply(absl::AnyInvocable<void(mvcc::WatchTable&)> work) {
  ApplyStage& apply = stages_->apply;
  auto task = [&apply, work = std::move(work)]() mutable {
    if (mvcc::WatchTable* watches = apply.watches()) work(*watches);
  };
  // Not while a batch is being sent to the watchers, which would have to be finished in one go.
  apply.strand().post([&apply, task = std::move(task)]() mutable { apply.between_batches(std::move(task)); });
}

namespace {

// Answers from this member's lessor. Not in the middle of an entry that takes the keys off the lease one after
// the other.
void lease_times_now(ApplyStage& apply, LeaseId id, bool keys, io::Executor& executor,
                     absl::AnyInvocable<void(Result<LeaseTimes>)> done) {
  apply.between_entries([&apply, id, keys, &executor, done = std::move(done)]() mutable {
    Result<LeaseTimes> result = Error(Code::kServerStopped);
    if (!apply.stopped()) {
      LeaseTimes times;
      const auto info = apply.lessor().info(id);
      if (info) {
        times.ttl = info->remaining_s;
        times.granted_ttl = info->granted_ttl_s;
      }
      if (info && info->demoted) {
        result = Error(Code::kLeaderChanged);
      } else if (info && keys) {
        return collect_lease_keys(apply, id, std::move(times), executor, std::move(done));
      } else {
        result = std::move(times);
      }
    }
    executor.post(
        [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  });
}

}  // namespace

void Member::lease_times(LeaseId id, bool keys, io::Executor& executor,
                         absl::AnyInvocable<void(Result<LeaseTimes>)> done) {
  Stages& s = *stages_;
  s.env.apply.post([&s, id, keys, &executor, done = std::move(done)]() mutable {
    if (s.raft.leading() || s.apply.stopped()) {
      return s.admin.when_caught_up(
          [&s, id, keys, &executor, done = std::move(done)](Result<> caught_up) mutable {
            FAILPOINT_IF(caught_up, beforeLookupWhenLeaseTimeToLive);
            if (caught_up) return lease_times_now(s.apply, id, keys, executor, std::move(done));
            executor.post([done = std::move(done), error = caught_up.error()]() mutable { done(error); });
          });
    }
    auto shared = std::make_shared<decltype(done)>(std::move(done));
    lease_times_at_leader(s, id, keys, [&executor, shared](Result<LeaseTimes> times) {
      executor.post([shared, times = std::move(times)]() mutable { (*shared)(std::move(times)); });
    });
  });
}

void Member::lease_times_here(LeaseId id, bool keys, io::Executor& executor,
                              absl::AnyInvocable<void(Result<LeaseTimes>)> done) {
  Stages& s = *stages_;
  s.env.apply.post([&s, id, keys, &executor, done = std::move(done)]() mutable {
    s.admin.when_caught_up([&s, id, keys, &executor, done = std::move(done)](Result<> caught_up) mutable {
      if (caught_up && !s.apply.stopped() && !s.apply.lessor().primary())
        caught_up = Error(Code::kNotPrimary);
      FAILPOINT_IF(caught_up, beforeLookupWhenForwardLeaseTimeToLive);
      if (caught_up) return lease_times_now(s.apply, id, keys, executor, std::move(done));
      executor.post([done = std::move(done), error = caught_up.error()]() mutable { done(error); });
    });
  });
}

void Member::renew_here(LeaseId id, io::Executor& executor, RenewDone done) {
  stages_->chores.renew_here(id, executor, std::move(done));
}

void Member::raft_status(io::Executor& executor, absl::AnyInvocable<void(std::string)> done) {
  stages_->raft.post_status(executor, std::move(done));
}

void Member::leases(io::Executor& executor, absl::AnyInvocable<void(Result<std::vector<LeaseId>>)> done) {
  ApplyStage& apply = stages_->apply;
  apply.strand().post([&apply, &executor, done = std::move(done)]() mutable {
    list_leases(apply, executor, std::move(done));
  });
}

void Member::check_leases(LeaseRight right, std::optional<auth::AuthInfo> caller, std::vector<LeaseId> leases,
                          io::Executor& executor, absl::AnyInvocable<void(Result<uint64_t>)> done) {
  ApplyStage& apply = stages_->apply;
  apply.strand().post([&apply, right, caller = std::move(caller), leases = std::move(leases), &executor,
                       done = std::move(done)]() mutable {
    apply.between_entries([&apply, right, caller = std::move(caller), leases = std::move(leases), &executor,
                           done = std::move(done)]() mutable {
      check_lease_rights(apply, right, std::move(caller), std::move(leases), executor, std::move(done));
    });
  });
}

// ---- maintenance ----

namespace {
// Runs `work(backend, reply)` on apply; `reply` hands the outcome to `executor`. A call that comes after the
// stop is answered so.
template <class T, class Work>
void on_backend(ApplyStage& apply, io::Executor& executor, absl::AnyInvocable<void(Result<T>)> done,
                Work work) {
  auto reply = [&executor, done = std::make_shared<decltype(done)>(std::move(done))](Result<T> r) {
    executor.post([done, r = std::move(r)]() mutable { (*done)(std::move(r)); });
  };
  apply.strand().post([&apply, reply = std::move(reply), work = std::move(work)]() mutable {
    apply.with_backend([&apply, reply = std::move(reply), work = std::move(work)]() mutable {
      if (apply.stopped()) return reply(Error(Code::kServerStopped));
      work(apply.backend(), std::move(reply));
    });
  });
}
}  // namespace

void Member::hash(io::Executor& executor, absl::AnyInvocable<void(Result<backend::StateHash>)> done) {
  on_backend<backend::StateHash>(stages_->apply, executor, std::move(done),
                                 [](backend::Backend& b, auto reply) { b.hash(std::move(reply)); });
}

void Member::hash_kv(int64_t revision, io::Executor& executor,
                     absl::AnyInvocable<void(Result<HashKv>)> done) {
  stages_->hash_runs.run(revision, executor, [done = std::move(done)](Result<HashRunResult> r) mutable {
    if (!r) return done(r.error());
    done(HashKv{r->kv.hash, r->kv.compact_revision, r->kv.hash_revision, r->revision});
  });
}

void Member::defragment(io::Executor& executor, absl::AnyInvocable<void(Result<>)> done) {
  on_backend<void>(stages_->apply, executor, std::move(done),
                   [](backend::Backend& b, auto reply) { b.defragment(std::move(reply)); });
}

void Member::snapshot(io::Executor& executor,
                      absl::AnyInvocable<void(Result<std::shared_ptr<backend::SnapshotSource>>)> done) {
  on_backend<std::shared_ptr<backend::SnapshotSource>>(
      stages_->apply, executor, std::move(done),
      [](backend::Backend& b, auto reply) { b.snapshot(std::move(reply)); });
}

Admin& Member::admin() {
  return stages_->admin;
}

PeerHandler& Member::peer_handler() {
  return stages_->inbound;
}

io::Executor& Member::file_executor() {
  return stages_->env.file;
}

}  // namespace quoin::server
