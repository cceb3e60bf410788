#include "server/snapshots.h"

#include <algorithm>

#include "membership/snapshot_state.h"
#include "server/raft_stage.h"
#include "snap/snapshotter.h"

namespace quoin::server {

namespace {
constexpr uint64_t kMemorySnapshotEntries = 100;
}

uint64_t Snapshots::log_bytes_max(bool keeps, uint64_t database_bytes) {
  if (!keeps) return RaftStage::kLogBytesMax;
  return std::clamp(database_bytes, RaftStage::kLogBytesMax, RaftStage::kLogBytesSendingMax);
}

void Snapshots::after_batch(const Moment& now) {
  const bool to_disk = !running_ && (forced_ || now.applied - disk_ > config_.snapshot_count);
  const bool keeps = keeps_log();
  const uint64_t bytes_max = log_bytes_max(keeps, backend_->size());
  const bool in_memory = now.applied - memory_ > kMemorySnapshotEntries ||
                         (sink_.wants_compaction(bytes_max) && now.applied > memory_);
  if (!to_disk && !in_memory) return;
  raft::Snapshot snapshot;
  snapshot.data =
      Blob::copy(snap::write_membership_json(membership::snapshot_state(now.members), now.applied.v));
  snapshot.metadata = {now.conf_state, now.applied, now.term};
  memory_ = now.applied;
  const uint64_t kept = config_.snapshot_catchup_entries;
  Index upto(now.applied.v > kept ? now.applied.v - kept : 1);
  if (keeps) {
    if (!std::exchange(told_kept_, true)) {
      LOG(log_, kInfo, "skip compaction since there is an inflight snapshot", );
    }
    upto = Index(1);
  } else {
    told_kept_ = false;
  }
  sink_.compact_log(now.applied, now.conf_state, snapshot.data, upto, bytes_max);
  if (!to_disk) return;
  LOG(log_, kInfo, "triggering snapshot", {"local-member-id", log::Hex{self_.v}},
      {"local-member-applied-index", now.applied.v}, {"local-member-snapshot-index", disk_.v},
      {"local-member-snapshot-count", config_.snapshot_count}, {"snapshot-forced", forced_});
  running_ = true;
  forced_ = false;
  disk_ = now.applied;
  // The database must be durable up to the snapshot's index before the file exists.
  backend_->commit([this, era = era_, snapshot = std::move(snapshot)] {
    if (era != era_) return;
    sink_.save_snapshot(snapshot, [this, era] {
      if (era != era_) return;
      running_ = false;
      saved_();
    });
  });
}

void Snapshots::sending() {
  if (sending_++ == 0) began_ = clock_.monotonic();
}

void Snapshots::sent(bool failed) {
  --sending_;
  const io::MonotonicNs now = clock_.monotonic();
  if (!failed) keep_until_ = std::max(keep_until_, now + std::max(kKeepAfterSentNs, 2 * (now - began_)));
}

void Snapshots::replaced(Index disk) {
  ++era_;
  disk_ = memory_ = disk;
  running_ = forced_ = false;
}

}  // namespace quoin::server
