#include "server/append_stage.h"

namespace quoin::server {

namespace {
constexpr int64_t kPurgeIntervalNs = 30 * io::kSecond;
}

AppendStage::AppendStage(const Config& config, io::FileSystem& fs, io::Executor& strand,
                         io::TimerService& timers, io::Clock& clock, log::Logger& log, wal::Probe& wal_probe,
                         wal::Tail tail, std::unique_ptr<snap::Snapshotter> snapshotter, RaftStage& raft,
                         std::function<void(Error)> failed)
    : config_(config),
      strand_(strand),
      timers_(timers),
      log_(log),
      snapshotter_(std::move(snapshotter)),
      raft_(raft),
      failed_(std::move(failed)),
      appender_(
          std::make_unique<wal::Appender>(fs, strand, clock, log, wal_probe,
                                          wal::AppenderOptions{.segment_bytes = config.wal_segment_bytes,
                                                               .unsafe_no_fsync = config.unsafe_no_fsync},
                                          std::move(tail), [this](Error e) { failed_(std::move(e)); })) {}

AppendStage::~AppendStage() = default;

void AppendStage::post_append(raft::HardState hard_state, std::vector<raft::Entry> entries,
                              std::vector<raft::Message> responses) {
  strand_.post([this, hard_state, entries = std::move(entries), responses = std::move(responses)]() mutable {
    if (closed_) return;
    // The log and raft's stable storage share the entries' bytes.
    std::vector<raft::Entry> to_write = entries;
    appender_->save(
        hard_state, std::move(to_write),
        [this, hard_state, entries = std::move(entries), responses = std::move(responses)]() mutable {
          raft_.post_appended(std::move(entries), hard_state, std::move(responses));
        });
  });
}

void AppendStage::post_snapshot(raft::Snapshot snapshot, io::Executor& executor, Task done) {
  strand_.post([this, snapshot = std::move(snapshot), &executor, done = std::move(done)]() mutable {
    if (closed_) return;
    const raft::SnapshotMetadata meta = snapshot.metadata;
    snapshotter_->save(snapshot, [this, meta, &executor, done = std::move(done)](Result<> saved) mutable {
      if (!saved) return failed_(saved.error());
      if (closed_) return;
      appender_->save_snapshot({meta.index, meta.term, meta.conf_state},
                               [this, meta, &executor, done = std::move(done)]() mutable {
                                 snapshotter_->recorded(meta.term, meta.index);
                                 LOG(log_, kInfo, "saved snapshot to disk", {"snapshot-index", meta.index.v});
                                 appender_->release_lock_to(meta.index);
                                 snapshotter_->release_snap_dbs(meta.index, [](Result<>) {});
                                 executor.post(std::move(done));
                               });
    });
  });
}

void AppendStage::post_start_purging() {
  strand_.post([this] { purge(); });
}

void AppendStage::purge() {
  if (closed_) return;
  // Nothing depends on these files: what can't be removed now is tried again.
  appender_->purge(config_.max_wals, [this](Result<> r) {
    if (!r) LOG(log_, kWarn, "failed to purge wal file", {"error", r.error().text()});
  });
  snapshotter_->purge(config_.max_snapshots, [this](Result<> r) {
    if (!r) LOG(log_, kWarn, "failed to purge snap file", {"error", r.error().text()});
  });
  purge_timer_ = timers_.schedule(kPurgeIntervalNs, strand_, [this] { purge(); });
}

void AppendStage::post_close(raft::HardState hard_state, io::Executor& executor, Task done) {
  strand_.post([this, hard_state, &executor, done = std::move(done)]() mutable {
    closed_ = true;
    purge_timer_.reset();
    appender_->close(hard_state, [this, &executor, done = std::move(done)](Result<> closed) mutable {
      if (!closed) LOG(log_, kError, "failed to close WAL", {"error", closed.error().text()});
      executor.post(std::move(done));
    });
  });
}

}  // namespace quoin::server
