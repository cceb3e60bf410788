#include "server/stages.h"

#include "raft/render.h"

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
      raft(std::move(options), std::move(b.storage), *lines, env.seed, env.raft, env.timers, env.clock,
           waiters, ids, *this, env.log, env.metrics),
      append(config, env.append_fs, env.append, env.timers, env.clock, env.log, *wal_probe, std::move(b.tail),
             std::move(b.snapshotter), raft, [this](Error error) { failed(std::move(error)); }),
      apply(config, self, std::move(b.state), env.apply, env.clock, env.log, env.metrics, metrics,
            slow_requests, waiters, ids, *this, [this](Error error) { failed(std::move(error)); }),
      chores(*this),
      forced(std::move(b.forced)),
      defragment_at_start(b.defragment) {}

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

void Stages::append_entries(raft::HardState hard_state, std::vector<raft::Entry> entries,
                            std::vector<raft::Message> responses) {
  append.post_append(hard_state, std::move(entries), std::move(responses));
}
void Stages::apply_entries(std::vector<raft::Entry> entries) {
  apply.post_entries(std::move(entries));
}
void Stages::soft_state_changed(const raft::SoftState& state, Term term) {
  apply.post_soft_state(state, term);
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
void Stages::compact_log(Index snapshot_index, raft::ConfState conf_state, Blob snapshot_data, Index upto) {
  raft.post_compact(snapshot_index, std::move(conf_state), std::move(snapshot_data), upto);
}
bool Stages::wants_compaction() const {
  return raft.wants_compaction();
}
void Stages::save_snapshot(raft::Snapshot snapshot, Task done) {
  append.post_snapshot(std::move(snapshot), env.apply, std::move(done));
}

}  // namespace quoin::server
