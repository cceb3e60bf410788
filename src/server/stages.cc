#include "server/stages.h"

#include <algorithm>

#include "raft/render.h"
#include "server/open_state.h"

namespace quoin::server {

namespace {

// raft's lines under etcd's logger name.
class RaftLines final : public raft::RenderingObserver {
 public:
  explicit RaftLines(log::Logger& log) : log_(log) {}
  bool enabled(raft::LineLevel level) const override { return log_.enabled(level_of(level)); }
  void line(raft::LineLevel level, std::string_view text) override {
    log_.log(log::Event{level_of(level), text, {}, __FILE__, __LINE__});
  }
  // With asynchronous storage writes two acknowledgements may name the same entry: nothing to tell an
  // operator.
  void stable_ack_missing(Index) override {}

 private:
  static log::Level level_of(raft::LineLevel level) {
    switch (level) {
      case raft::LineLevel::kDebug:
        return log::Level::kDebug;
      case raft::LineLevel::kInfo:
        return log::Level::kInfo;
      case raft::LineLevel::kWarning:
        return log::Level::kWarn;
      case raft::LineLevel::kError:
        return log::Level::kError;
    }
    return log::Level::kInfo;
  }
  log::Logger& log_;
};

}  // namespace

RaftStageOptions raft_stage_options(const Config& config, MemberId self) {
  RaftStageOptions options;
  options.raft.id = self;
  options.raft.election_ticks = config.election_ticks();
  options.raft.heartbeat_ticks = 1;
  options.raft.async_storage_writes = true;
  options.raft.check_quorum = true;
  options.raft.pre_vote = config.pre_vote;
  options.raft.hold_responses_for_conf_change = true;
  options.tick_ns = config.heartbeat_ns;
  options.request_timeout_ns = config.request_timeout_ns();
  return options;
}

Stages::Stages(Config c, Environment e, RaftStageOptions options, Bootstrapped b)
    : config(std::move(c)),
      env(e),
      self(b.self),
      cluster_id(b.cluster),
      ids(self, env.clock.wall()),
      quota(config.quota_backend_bytes),
      metrics(env.metrics, self, quota.limit()),
      slow_requests(env.log, config.warning_apply_ns, metrics.slow_applies),
      wal_probe(std::move(b.wal_probe)),
      snap_probe(std::move(b.snap_probe)),
      lines(std::make_unique<RaftLines>(env.log.named("raft"))),
      peers(env.peers != nullptr ? *env.peers : no_peers),
      logins(config, b.state.auth->published,
             env.passwords.empty() ? std::vector<io::Executor*>{&env.file} : env.passwords, env.clock,
             env.log, env.metrics),
      raft(std::move(options), std::move(b.storage), *lines, env.seed, env.raft, env.timers, env.clock,
           waiters, ids, *this, env.log, env.metrics),
      appender(config, env.append_fs, env.append, env.timers, env.clock, env.log, *wal_probe,
               std::move(b.tail), std::move(b.snapshotter), raft,
               [this](Error error) { failed(std::move(error)); }),
      apply(
          config, self, std::move(b.state), env.apply, env.file, env.clock, env.log, env.metrics, metrics,
          slow_requests, waiters, ids, logins, *this,
          [this](Index index, std::shared_ptr<backend::Probe> probe, mvcc::CompactionObserver* compactions) {
            return open_received(config, env, index, std::move(probe), compactions);
          },
          [this](Error error) { failed(std::move(error)); }),
      hash_runs([this] { return apply.view(); }, env.file, env.clock, metrics.hash_rev_seconds),
      chores(*this),
      admin(*this),
      inbound(*this),
      made_up(b.made_up),
      forced(std::move(b.forced)),
      restarted(b.restarted),
      defragment_at_start(b.defragment),
      alone(b.alone) {
  apply.listen_to_auth(logins);
  note_learner();
}

Stages::~Stages() = default;

void Stages::failed(Error error) {
  std::function<void(Error)> report;
  {
    std::lock_guard lock(failed_mutex_);
    if (failure_) return;
    failure_ = error;
    report = std::exchange(on_failed_, nullptr);
  }
  if (!report) return;
  // Not every part stops by itself (a `.snap` file that can't be written holds up neither the log nor apply):
  // from here on nothing is taken in, so nothing sent after the report is acknowledged.
  raft.post_stop(env.raft, [](raft::HardState) {});
  report(std::move(error));
}

bool Stages::report_failures_to(std::function<void(Error)> report) {
  {
    std::lock_guard lock(failed_mutex_);
    if (!failure_) {
      on_failed_ = std::move(report);
      return true;
    }
  }
  report(*failure_);  // never changes once it is set
  return false;
}

// ---- RaftSink: called on the raft strand ----

void Stages::append(AppendBatch batch) {
  appender.post_append(std::move(batch));
}
void Stages::apply_entries(std::vector<raft::Entry> entries) {
  apply.post_entries(std::move(entries));
}
void Stages::soft_state_changed(const raft::SoftState& state, Term term) {
  apply.post_soft_state(state, term);
}

void Stages::install_snapshot(std::shared_ptr<const raft::Snapshot> snapshot) {
  apply.post_snapshot(std::move(snapshot));
}
void Stages::send(std::vector<raft::Message> messages) {
  peers.send(std::move(messages));
}
void Stages::snapshot_wanted(raft::Message message) {
  apply.post_snapshot_wanted(std::move(message));
}

bool Stages::connected_since(io::MonotonicNs since, MemberId leader) const {
  const auto connected = [&](MemberId id) {
    if (id == self) return true;
    const auto active = peers.active_since(id);
    return active && *active <= since;
  };
  if (leader != self) return connected(leader);
  const auto members = apply.members();
  const auto voters = members->voters();
  const size_t reached = static_cast<size_t>(std::ranges::count_if(voters, connected));
  return reached >= voters.size() / 2 + 1;
}

// ---- ApplySink: called on the apply strand ----

void Stages::propose(Proposal proposal) {
  std::vector<Proposal> one;
  one.push_back(std::move(proposal));
  raft.post_proposals(std::move(one));
}
void Stages::note_applied(Index index) {
  raft.note_applied(index);
}
void Stages::entries_applied(Index last, uint64_t encoded_bytes, uint64_t payload_bytes) {
  raft.post_applied(last, encoded_bytes, payload_bytes);
}
void Stages::conf_change_applied(raft::ConfChange change, Index at,
                                 absl::AnyInvocable<void(raft::ConfState)> done) {
  raft.post_conf_change(std::move(change), at, env.apply, std::move(done));
}
void Stages::compact_log(Index snapshot_index, raft::ConfState conf_state, Blob snapshot_data, Index upto,
                         uint64_t bytes_max) {
  raft.post_compact(snapshot_index, std::move(conf_state), std::move(snapshot_data), upto, bytes_max);
}
bool Stages::wants_compaction(uint64_t bytes_max) const {
  return raft.wants_compaction(bytes_max);
}
void Stages::save_snapshot(raft::Snapshot snapshot, Task done) {
  appender.post_snapshot(std::move(snapshot), env.apply, std::move(done));
}

void Stages::member_changed(const membership::Change& change) {
  const membership::Member& m = change.member;
  if (m.id == self) return note_learner();
  switch (change.kind) {
    case membership::ChangeKind::kAdd:
    case membership::ChangeKind::kAddLearner:
      return peers.add(m.id, m.peer_urls);
    case membership::ChangeKind::kUpdate:
      return peers.update(m.id, m.peer_urls);
    case membership::ChangeKind::kRemove:
      return peers.remove(m.id);
    case membership::ChangeKind::kPromote:
      return;
  }
}

void Stages::members_replaced(const membership::Membership&) {
  peers.remove_all();
  add_peers();
  note_learner();
}

void Stages::note_learner() {
  const auto members = apply.members();
  const membership::Member* m = members->member(self);
  metrics.is_learner.set(m != nullptr && m->is_learner ? 1 : 0);
}

void Stages::add_peers() {
  for (const membership::Member& m : apply.members()->list()) {
    if (m.id != self) peers.add(m.id, m.peer_urls);
  }
}

void Stages::removed_self() {
  // The others must hear of what this member acknowledged, and its clients get their answers; where another member was
  // first to know, this one may be about to apply its removal.
  constexpr int64_t kGraceNs = io::kSecond;
  if (removed_timer) return;
  removed_timer = env.timers.schedule(kGraceNs, env.apply, [this] { stop_removed(); });
}

void Stages::stop_removed() {
  LOG(env.log, kWarn, "server error", {"error", "the member has been permanently removed from the cluster"});
  failed(Error(Code::kStopped, "the member has been permanently removed from the cluster"));
}

void Stages::empty_entry_applied() {
  raft.post_first_commit_in_term();
  chores.first_commit_in_term();
}

void Stages::send_snapshot(raft::Message message, std::shared_ptr<backend::SnapshotSource> source) {
  peers.send_snapshot(std::move(message), std::move(source));
}

void Stages::snapshot_failed(MemberId to) {
  raft.post_snapshot_sent(to, /*failed=*/true);
}

void Stages::snapshot_sent(MemberId to, bool failed) {
  raft.post_snapshot_sent(to, failed);
  apply.post_snapshot_sent(failed);
}

void Stages::snapshot_installed(raft::SnapshotMetadata meta) {
  raft.post_snapshot_installed(meta.index);
  appender.post_snapshot_installed(std::move(meta));
  chores.snapshot_installed();
}

}  // namespace quoin::server
