#include "server/append_stage.h"

#include "failpoint/failpoint.h"

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

void AppendStage::post_made_up(raft::HardState hard_state, std::vector<raft::Entry> entries, Task done) {
  strand_.post([this, hard_state, entries = std::move(entries), done = std::move(done)]() mutable {
    appender_->save(hard_state, std::move(entries), std::move(done));
  });
}

void AppendStage::post_append(AppendBatch batch) {
  strand_.post([this, batch = std::move(batch)]() mutable { take(std::move(batch)); });
}

void AppendStage::take(AppendBatch batch) {
  if (closed_) return;
  if (saving_received_) return waiting_.push_back(std::move(batch));
  if (batch.snapshot) return save_received(std::move(batch));
  write(std::move(batch));
}

void AppendStage::write(AppendBatch batch) {
  // The log and raft's stable storage share the entries' bytes.
  std::vector<raft::Entry> to_write = batch.entries;
  const raft::HardState hard_state = batch.hard_state;
  // Of batches that have something to save; etcd passes here with empty ones, too.
  FAILPOINT(raftBeforeSave);
  appender_->save(hard_state, std::move(to_write), [this, batch = std::move(batch)]() mutable {
    FAILPOINT(raftAfterSave);
    raft_.post_appended(std::move(batch));
  });
}

// The `.snap` file, its record, a hard state that commits just that, the rest (wal/appender.h). The database
// is there already.
void AppendStage::save_received(AppendBatch batch) {
  saving_received_ = true;
  received_ = batch.snapshot->metadata.index;
  const raft::Snapshot& snapshot = *batch.snapshot;
  FAILPOINT(raftBeforeSaveSnap);
  snapshotter_->save(snapshot, [this, batch = std::move(batch)](Result<> saved) mutable {
    if (!saved) return failed_(saved.error());
    if (closed_) return;
    const raft::SnapshotMetadata& meta = batch.snapshot->metadata;
    FAILPOINT(raftBeforeWALSaveSnaphot);
    appender_->save_snapshot({meta.index, meta.term, meta.conf_state}, FAILPOINT_DONE(raftAfterSaveSnap));
    raft::HardState covering = batch.hard_state;
    covering.commit = meta.index;
    appender_->save(covering, {}, nullptr);
    write(std::move(batch));
    saving_received_ = false;
    while (!saving_received_ && !waiting_.empty()) {
      AppendBatch next = std::move(waiting_.front());
      waiting_.pop_front();
      take(std::move(next));
    }
  });
}

void AppendStage::release(const raft::SnapshotMetadata& meta) {
  snapshotter_->recorded(meta.term, meta.index);
  appender_->release_lock_to(meta.index);
  snapshotter_->release_snap_dbs(meta.index, [](Result<>) {});
}

void AppendStage::post_snapshot_installed(raft::SnapshotMetadata meta) {
  strand_.post([this, meta = std::move(meta)] {
    if (closed_) return;
    snapshotter_->db_taken(meta.index);
    release(meta);
    // etcd releases before the database is in use, here it is afterwards.
    FAILPOINT(raftAfterWALRelease);
  });
}

void AppendStage::post_keep_snapshot(std::string path, Index index, io::Executor& executor,
                                     absl::AnyInvocable<void(Result<>)> done) {
  strand_.post([this, path = std::move(path), index, &executor, done = std::move(done)]() mutable {
    snapshotter_->commit_db(path, index, [&executor, done = std::move(done)](Result<> kept) mutable {
      executor.post([done = std::move(done), kept = std::move(kept)]() mutable { done(std::move(kept)); });
    });
  });
}

void AppendStage::post_snapshot(raft::Snapshot snapshot, io::Executor& executor, Task done) {
  strand_.post([this, snapshot = std::move(snapshot), &executor, done = std::move(done)]() mutable {
    if (closed_) return;
    const raft::SnapshotMetadata meta = snapshot.metadata;
    snapshotter_->save(snapshot, [this, meta, &executor, done = std::move(done)](Result<> saved) mutable {
      if (!saved) return failed_(saved.error());
      // Another member's snapshot has replaced what this one is of; its record must stay the last.
      if (closed_ || meta.index <= received_) return;
      FAILPOINT(raftBeforeWALSaveSnaphot);
      appender_->save_snapshot({meta.index, meta.term, meta.conf_state},
                               [this, meta, &executor, done = std::move(done)]() mutable {
                                 LOG(log_, kInfo, "saved snapshot to disk", {"snapshot-index", meta.index.v});
                                 release(meta);
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
    // Batches that wait for a snapshot's file are dropped, and the newest hard state may be one of theirs: it speaks of
    // what the log never got. The log then ends with the last one that it was given.
    const bool dropped = saving_received_ || !waiting_.empty();
    const raft::HardState last = dropped ? raft::HardState() : hard_state;
    appender_->close(last, [this, &executor, done = std::move(done)](Result<> closed) mutable {
      if (!closed) LOG(log_, kError, "failed to close WAL", {"error", closed.error().text()});
      executor.post(std::move(done));
    });
  });
}

}  // namespace quoin::server
