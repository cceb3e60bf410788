#include "server/chores.h"

#include <algorithm>

#include "failpoint/failpoint.h"
#include "membership/cluster.h"
#include "server/leader_lease.h"
#include "server/stages.h"
#include "wire/message.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;

namespace {
constexpr int64_t kVersionIntervalNs = 4 * io::kSecond;
constexpr int64_t kPublishRetryNs = 500 * io::kMillisecond;
constexpr int64_t kTicksWaitNs = 5 * io::kSecond;
constexpr int64_t kTicksPollNs = 50 * io::kMillisecond;
constexpr int64_t kAppliedWaitNs = 1 * io::kSecond;
constexpr int64_t kCheckpointScanNs = 1 * io::kSecond;
constexpr int64_t kPromotionLookNs = 1 * io::kSecond;
constexpr size_t kRenewalsAtOnce = 256;  // in one task: about 50 µs
}  // namespace

Chores::Chores(Stages& stages)
    : s_(stages),
      corruption_check_(
          std::make_unique<CorruptionCheck>(stages, [this](MemberId member) { raise_corrupt(member); })),
      learner_promotion_(stages) {
  const Config& c = s_.config;
  if (c.auto_compaction != Config::AutoCompaction::kNone && c.auto_compaction_retention > 0) {
    compactor_.emplace(c.auto_compaction, c.auto_compaction_retention, s_.env.clock.monotonic());
  }
}

Chores::~Chores() = default;

void Chores::raise_corrupt(MemberId member) {
  Request request;
  pb::AlarmRequest& alarm = request.alarm.emplace();
  alarm.member_id = member.v;
  alarm.action = pb::AlarmRequest::AlarmAction::kActivate;
  alarm.alarm = pb::AlarmType::kCorrupt;
  propose(request);
}

void Chores::every(std::unique_ptr<io::Timer>* slot, int64_t interval_ns, void (Chores::*work)()) {
  *slot = s_.env.timers.schedule(interval_ns, s_.env.apply, [this, slot, interval_ns, work] {
    if (stopped_) return;
    every(slot, interval_ns, work);
    (this->*work)();
  });
}

void Chores::start(io::Executor& executor, Task ready) {
  ready_executor_ = &executor;
  s_.raft.post_start_ticking();
  s_.env.apply.post([this, ready = std::move(ready)]() mutable {
    ready_ = std::move(ready);
    every(&lease_timer_, lease::Lessor::kScanInterval, &Chores::revoke_expired);
    if (s_.config.lease_checkpoint) every(&checkpoint_timer_, kCheckpointScanNs, &Chores::checkpoint_leases);
    every(&storage_timer_, kVersionIntervalNs, &Chores::follow_versions);
    every(&version_timer_, kVersionIntervalNs, &Chores::monitor_cluster_version);
    every(&downgrade_timer_, std::max<int64_t>(s_.config.downgrade_check_ns, io::kMillisecond),
          &Chores::monitor_downgrade);
    corruption_check_->start();
    if (s_.config.promote_learners) every(&promotion_timer_, kPromotionLookNs, &Chores::promote_learners);
    if (compactor_) every(&compact_timer_, compactor_->interval_ns(), &Chores::compact);
    if (!s_.alone) start_advancing_ticks();
    if (s_.alone) {
      // Behind what the log holds as committed: a configuration that is not applied yet forbids it.
      const Index committed(s_.raft.progress().committed.load(std::memory_order_acquire));
      s_.apply.when_applied(committed, [this] { s_.raft.post_campaign(); });
    }
    publish();
  });
}

void Chores::post_stop(Task done) {
  s_.env.apply.post([this, done = std::move(done)]() mutable {
    stopped_ = true;
    for (auto* t : {&lease_timer_, &checkpoint_timer_, &storage_timer_, &version_timer_, &downgrade_timer_,
                    &compact_timer_, &publish_timer_, &ticks_timer_, &promotion_timer_}) {
      t->reset();
    }
    corruption_check_->stop(std::move(done));
  });
}

void Chores::start_advancing_ticks() {
  const log::Field ticks{"election-ticks", s_.config.election_ticks()};
  if (!s_.config.initial_election_tick_advance) {
    LOG(s_.env.log, kInfo, "skipping initial election tick advance", ticks);
    return;
  }
  LOG(s_.env.log, kInfo, "starting initial election tick advance", ticks);
  advance_ticks(kTicksWaitNs);
}

// Once others can be reached, a member that starts waits for one heartbeat more and then campaigns, instead of
// a whole election timeout.
void Chores::advance_ticks(int64_t left_ns) {
  size_t active = 0;
  for (const membership::Member& m : s_.apply.members()->list()) {
    if (m.id != s_.self && s_.peers.active_since(m.id)) ++active;
  }
  if (active > 1) {
    const int all = s_.config.election_ticks();
    const int ticks = all - 2;
    LOG(s_.env.log, kInfo, "initialized peer connections; fast-forwarding election ticks",
        {"local-member-id", log::Hex{s_.self.v}}, {"forward-ticks", ticks},
        {"forward-duration", log::Duration{ticks * s_.config.heartbeat_ns}}, {"election-ticks", all},
        {"election-timeout", log::Duration{all * s_.config.heartbeat_ns}}, {"active-remote-members", active});
    return s_.raft.advance_ticks(ticks);
  }
  if (left_ns <= 0) return;
  ticks_timer_ = s_.env.timers.schedule(kTicksPollNs, s_.env.apply,
                                        [this, left_ns] { advance_ticks(left_ns - kTicksPollNs); });
}

void Chores::first_commit_in_term() {
  if (ready_ == nullptr) monitor_cluster_version();
}

// ---- proposals of this member's own ----

uint64_t Chores::begin_request(Request& request) {
  const uint64_t id = s_.ids.next();
  auto& header = request.header.emplace();
  header.id = id;
  // Checked at apply, unlike all else that a member proposes by itself: it does it as root.
  const auth::Store& store = s_.apply.auth().store();
  if (request.lease_revoke && store.enabled()) {
    header.username = auth::kRootUser;
    header.auth_revision = store.revision();
  }
  return id;
}

void Chores::propose(Request& request, Term only_in_term) {
  const uint64_t id = begin_request(request);
  s_.raft.post_proposals({{.id = id, .data = wire::encode_blob(request), .only_in_term = only_in_term}});
}

void Chores::propose(Request& request, absl::AnyInvocable<void(std::optional<Error>)> done,
                     Term only_in_term) {
  const uint64_t id = begin_request(request);
  s_.waiters.add(id, {&s_.env.apply, [done = std::move(done)](Answer a) mutable { done(std::move(a.error)); },
                      s_.env.clock.monotonic()});
  s_.raft.post_proposals(
      {{.id = id, .data = wire::encode_blob(request), .only_in_term = only_in_term, .awaited = true}});
}

// ---- this member's name and URLs ----

// As Go prints its struct.
std::string Chores::attributes_text() const {
  return fmt::format("{{Name:{} ClientURLs:[{}]}}", s_.config.name,
                     fmt::join(s_.config.advertise_client_urls, " "));
}

void Chores::publish() {
  if (stopped_) return;
  Request request;
  auto& set = request.cluster_member_attr_set.emplace();
  set.member_id = s_.self.v;
  auto& attributes = set.member_attributes.emplace();
  attributes.name = s_.config.name;
  attributes.client_urls.assign(s_.config.advertise_client_urls.begin(),
                                s_.config.advertise_client_urls.end());
  FAILPOINT(beforePublishing);
  propose(request, [this, number = ++publication_](std::optional<Error> error) {
    if (stopped_ || published_ || (error && number != publication_)) return;
    if (error && error->code() == Code::kServerStopped) {
      LOG(s_.env.log, kWarn, "stopped publish because server is stopped",
          {"local-member-id", log::Hex{s_.self.v}}, {"local-member-attributes", attributes_text()},
          {"publish-timeout", log::Duration{s_.config.request_timeout_ns()}}, {"error", error->text()});
      return;
    }
    if (error) {
      LOG(s_.env.log, kWarn, "failed to publish local member to cluster through raft",
          {"local-member-id", log::Hex{s_.self.v}}, {"local-member-attributes", attributes_text()},
          {"publish-timeout", log::Duration{s_.config.request_timeout_ns()}}, {"error", error->text()});
      // Most errors come after a timeout, but not all.
      publish_timer_ = s_.env.timers.schedule(kPublishRetryNs, s_.env.apply, [this] { publish(); });
      return;
    }
    LOG(s_.env.log, kInfo, "published local member to cluster through raft",
        {"local-member-id", log::Hex{s_.self.v}}, {"local-member-attributes", attributes_text()},
        {"cluster-id", log::Hex{s_.cluster_id.v}},
        {"publish-timeout", log::Duration{s_.config.request_timeout_ns()}});
    published_ = true;
    monitor_cluster_version();
    if (ready_) ready_executor_->post(std::exchange(ready_, nullptr));
  });
}

void Chores::snapshot_installed() {
  if (publication_ > 0 && !published_) publish();
}

// ---- versions ----

void Chores::follow_versions() {
  s_.apply.follow_cluster_version();
}

void Chores::monitor_cluster_version() {
  if (stopped_ || !s_.apply.leading() || asking_versions_) return;
  asking_versions_ = true;
  ask_member_versions(s_, [this](const MemberVersions& servers) {
    asking_versions_ = false;
    decide_cluster_version(servers);
  });
}

void Chores::decide_cluster_version(const MemberVersions& servers) {
  if (stopped_ || !s_.apply.leading()) return;
  const auto members = s_.apply.members();
  std::vector<std::optional<membership::Version>> versions;
  for (const auto& [id, version] : servers) {
    versions.push_back(version);
    if (version && *version > membership::own_version()) {
      LOG(s_.env.log, kWarn, "leader found higher-versioned member",
          {"local-member-version", membership::own_version().text()}, {"remote-member-id", log::Hex{id.v}},
          {"remote-member-version", version->text()});
    }
  }
  const auto next = membership::decide_cluster_version(members->version, membership::lowest_version(versions),
                                                       members->downgrade);
  if (!next) return;
  const std::string text = next->text();
  if (members->version) {
    LOG(s_.env.log, kInfo, "updating cluster version using v3 API", {"from", members->version->minor_text()},
        {"to", next->minor_text()});
  } else {
    LOG(s_.env.log, kInfo, "setting up initial cluster version using v3 API",
        {"cluster-version", next->minor_text()});
  }
  Request request;
  request.cluster_version_set.emplace().ver = text;
  propose(request, [this, version = next->minor_text()](std::optional<Error> error) {
    if (!error) LOG(s_.env.log, kInfo, "cluster version is updated", {"cluster-version", version});
  });
}

void Chores::monitor_downgrade() {
  if (stopped_ || !s_.apply.leading()) return;
  if (!s_.apply.members()->downgrade.enabled || asking_downgrade_) return;
  asking_downgrade_ = true;
  ask_member_versions(s_, [this](const MemberVersions& servers) {
    asking_downgrade_ = false;
    end_downgrade(servers);
  });
}

void Chores::end_downgrade(const MemberVersions& servers) {
  if (stopped_ || !s_.apply.leading()) return;
  const membership::Downgrade& downgrade = s_.apply.members()->downgrade;
  std::vector<std::optional<membership::Version>> versions;
  for (const auto& [id, version] : servers) {
    versions.push_back(version);
    if (!version || !downgrade.enabled || version->cluster().text() == downgrade.target) continue;
    LOG(s_.env.log, kWarn, "remotes server has mismatching etcd version",
        {"remote-member-id", log::Hex{id.v}}, {"current-server-version", version->cluster().text()},
        {"target-version", downgrade.target});
    break;
  }
  if (!membership::downgrade_finished(downgrade, versions)) return;
  LOG(s_.env.log, kInfo, "the cluster has been downgraded",
      {"cluster-version", s_.apply.members()->downgrade.target});
  Request request;
  request.downgrade_info_set.emplace();
  propose(request);
}

void Chores::promote_learners() {
  learner_promotion_.look();
}

// ---- compaction ----

void Chores::compact() {
  const io::MonotonicNs now = s_.env.clock.monotonic();
  const auto revision = compactor_->tick(now, s_.apply.store().revision(), s_.apply.leading());
  if (!revision) return;
  const bool periodic = s_.config.auto_compaction == Config::AutoCompaction::kPeriodic;
  LOG(s_.env.log, kInfo, periodic ? "starting auto periodic compaction" : "starting auto revision compaction",
      {"revision", *revision}, retention_field());
  Request request;
  request.compaction.emplace().revision = *revision;
  propose(request, [this, periodic, revision = *revision, start = now](std::optional<Error> error) {
    if (stopped_) return;
    const bool done = !error || error->code() == Code::kCompacted;
    const io::MonotonicNs end = s_.env.clock.monotonic();
    compactor_->done(revision, done, end);
    if (done) {
      LOG(s_.env.log, kInfo,
          periodic ? "completed auto periodic compaction" : "completed auto revision compaction",
          {"revision", revision}, retention_field(), {"took", log::Duration{end - start}});
    } else {
      LOG(s_.env.log, kWarn, periodic ? "failed auto periodic compaction" : "failed auto revision compaction",
          {"revision", revision}, retention_field(),
          {"retry-interval", log::Duration{compactor_->interval_ns()}}, {"error", internal_text(*error)});
    }
  });
}

log::Field Chores::retention_field() const {
  const int64_t retention = s_.config.auto_compaction_retention;
  if (s_.config.auto_compaction == Config::AutoCompaction::kPeriodic) {
    return {"compact-period", log::Duration{retention}};
  }
  return {"revision-compaction-retention", retention};
}

// ---- leases ----

void Chores::revoke_expired() {
  s_.apply.maintain();
  sweep_tokens();
  if (!s_.apply.lessor().primary()) return;
  for (LeaseId lease : s_.apply.lessor().take_expired()) {
    Request request;
    request.lease_revoke.emplace().id = lease.v;
    propose(
        request,
        [this](std::optional<Error> error) {
          if (!error) s_.metrics.leases_expired.inc();
        },
        s_.apply.leading_term());
  }
}

void Chores::sweep_tokens() {
  if (!stopped_ && s_.logins.sweep()) s_.env.apply.post([this] { sweep_tokens(); });
}

void Chores::checkpoint_leases() {
  if (!s_.apply.lessor().primary()) return;
  const auto due = s_.apply.lessor().take_checkpoints();
  if (due.empty()) return;
  Request request;
  pb::LeaseCheckpointRequest& checkpoint = request.lease_checkpoint.emplace();
  for (const lease::Checkpoint& c : due) {
    pb::LeaseCheckpoint& out = checkpoint.checkpoints.emplace_back();
    out.id = c.id.v;
    out.remaining_ttl = c.remaining_ttl_s;
  }
  propose(request, s_.apply.leading_term());
}

// ---- renewals ----

struct Chores::RenewalBatch {
  std::vector<LeaseRenewal> renewals;
  size_t next = 0;
  io::Executor& executor;
};

// One that can't be answered at once.
struct Chores::Renewal {
  LeaseId id;
  io::Executor& executor;
  RenewDone done;
  std::unique_ptr<io::Timer> timeout;
  bool over = false;

  void finish(Result<int64_t> r) {
    if (std::exchange(over, true)) return;
    timeout.reset();
    executor.post([done = std::move(done), r = std::move(r)]() mutable { done(std::move(r)); });
  }
};

void Chores::renew(std::vector<LeaseRenewal> renewals, io::Executor& executor) {
  s_.env.apply.post([this, batch = RenewalBatch{std::move(renewals), 0, executor}]() mutable {
    renew_some(std::move(batch));
  });
}

// Goes on in a task of its own after kRenewalsAtOnce.
void Chores::renew_some(RenewalBatch batch) {
  const bool stopped = stopped_ || s_.apply.stopped();
  const io::MonotonicNs now = s_.env.clock.monotonic();
  const bool at_once = surely_leading(now) && s_.apply.applied() >= committed();
  std::vector<std::pair<RenewDone, Result<int64_t>>> answers;
  const size_t end = std::min(batch.renewals.size(), batch.next + kRenewalsAtOnce);
  answers.reserve(end - batch.next);
  for (; batch.next < end; ++batch.next) {
    LeaseRenewal& r = batch.renewals[batch.next];
    if (stopped) {
      answers.emplace_back(std::move(r.done), Error(Code::kServerStopped));
    } else if (auto answer = at_once ? renewed_at_once(r.id, now) : std::nullopt) {
      answers.emplace_back(std::move(r.done), *std::move(answer));
    } else {
      auto renewal = std::make_shared<Renewal>(Renewal{r.id, batch.executor, std::move(r.done), nullptr});
      if (s_.raft.leading()) {
        confirm_leadership(std::move(renewal));
      } else {
        renew_elsewhere(std::move(renewal));
      }
    }
  }
  if (!answers.empty()) {
    batch.executor.post([answers = std::move(answers)]() mutable {
      for (auto& [done, answer] : answers) done(std::move(answer));
    });
  }
  if (batch.next == batch.renewals.size()) return;
  s_.env.apply.post([this, batch = std::move(batch)]() mutable { renew_some(std::move(batch)); });
}

// Nothing if the renewal has to wait for something.
std::optional<Result<int64_t>> Chores::renewed_at_once(LeaseId id, io::MonotonicNs now) {
  const auto renewed = s_.apply.lessor().renew(id, now);
  if (!renewed) return renewed.error();
  if (renewed->kind != lease::Renewal::Kind::kRenewed) return std::nullopt;
  return renewed->ttl_s;
}

Index Chores::committed() const {
  return Index(s_.raft.progress().committed.load(std::memory_order_acquire));
}

// A leader whose ticks come on time would have noticed its fall.
bool Chores::surely_leading(io::MonotonicNs now) const {
  return s_.raft.leading() && now - s_.raft.last_tick() <= 3 * s_.config.heartbeat_ns;
}

// Where the ticks do not say so, a read index does.
void Chores::confirm_leadership(std::shared_ptr<Renewal> renewal) {
  if (surely_leading(s_.env.clock.monotonic())) return wait_applied(std::move(renewal));
  std::vector<RaftStage::Reader> readers;
  readers.push_back({&s_.env.apply, [this, renewal](Result<> confirmed) {
                       if (stopped_) return renewal->finish(Error(Code::kServerStopped));
                       if (!confirmed || !s_.raft.leading()) return renewal->finish(Error(Code::kNotPrimary));
                       wait_applied(renewal);
                     }});
  s_.raft.post_readers(std::move(readers));
}

void Chores::wait_applied(std::shared_ptr<Renewal> renewal) {
  const Index committed = this->committed();
  if (s_.apply.applied() >= committed) return renew_now(std::move(renewal));
  renewal->timeout = s_.env.timers.schedule(kAppliedWaitNs, s_.env.apply, [renewal = renewal.get()] {
    renewal->finish(Error(Code::kTimeoutWaitAppliedIndex));
  });
  s_.apply.when_applied(committed, [this, renewal] {
    if (!renewal->over) renew_now(renewal);
  });
}

void Chores::renew_elsewhere(std::shared_ptr<Renewal> renewal) {
  renew_at_leader(s_, renewal->id,
                  [renewal](Result<int64_t> ttl) mutable { renewal->finish(std::move(ttl)); });
}

void Chores::renew_here(LeaseId id, io::Executor& executor, RenewDone done) {
  s_.env.apply.post([this, id, &executor, done = std::move(done)]() mutable {
    auto renewal = std::make_shared<Renewal>(Renewal{id, executor, std::move(done), nullptr});
    if (stopped_) return renewal->finish(Error(Code::kServerStopped));
    wait_applied(std::move(renewal));
  });
}

void Chores::renew_now(std::shared_ptr<Renewal> renewal) {
  auto renewed = s_.apply.lessor().renew(renewal->id);
  if (!renewed) return renewal->finish(renewed.error());
  switch (renewed->kind) {
    case lease::Renewal::Kind::kRenewed:
      return renewal->finish(renewed->ttl_s);
    case lease::Renewal::Kind::kExpired:
      return s_.apply.lessor().when_gone(renewal->id,
                                         [renewal](Error why) { renewal->finish(std::move(why)); });
    case lease::Renewal::Kind::kCheckpointFirst: {
      Request request;
      request.lease_checkpoint.emplace().checkpoints.emplace_back().id = renewal->id.v;
      // Only as the leader of now: a later leader has promoted the lease, and its time, by itself.
      return propose(
          request,
          [this, renewal](std::optional<Error> error) {
            if (stopped_) return renewal->finish(Error(Code::kServerStopped));
            if (error && error->code() == Code::kProposalDropped) error = Error(Code::kNotPrimary);
            if (error) return renewal->finish(*error);
            renew_now(renewal);
          },
          s_.apply.leading_term());
    }
  }
}

}  // namespace quoin::server
