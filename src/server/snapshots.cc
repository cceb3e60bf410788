#include "server/snapshots.h"

#include "membership/snapshot_state.h"
#include "snap/snapshotter.h"

namespace quoin::server {

namespace {
constexpr uint64_t kMemorySnapshotEntries = 100;
}

void Snapshots::after_batch(const Moment& now) {
  const bool to_disk = !running_ && (forced_ || now.applied - disk_ > config_.snapshot_count);
  const bool in_memory =
      now.applied - memory_ > kMemorySnapshotEntries || (sink_.wants_compaction() && now.applied > memory_);
  if (!to_disk && !in_memory) return;
  raft::Snapshot snapshot;
  snapshot.data =
      Blob::copy(snap::write_membership_json(membership::snapshot_state(now.members), now.applied.v));
  snapshot.metadata = {now.conf_state, now.applied, now.term};
  memory_ = now.applied;
  const uint64_t kept = config_.snapshot_catchup_entries;
  const Index upto(now.applied.v > kept ? now.applied.v - kept : 1);
  sink_.compact_log(now.applied, now.conf_state, snapshot.data, upto);
  if (!to_disk) return;
  LOG(log_, kInfo, "triggering snapshot", {"local-member-id", log::Hex{self_.v}},
      {"local-member-applied-index", now.applied.v}, {"local-member-snapshot-index", disk_.v},
      {"local-member-snapshot-count", config_.snapshot_count}, {"snapshot-forced", forced_});
  running_ = true;
  forced_ = false;
  disk_ = now.applied;
  // The database must be durable up to the snapshot's index before the file exists.
  backend_.commit([this, snapshot = std::move(snapshot)] {
    sink_.save_snapshot(snapshot, [this] {
      running_ = false;
      saved_();
    });
  });
}

}  // namespace quoin::server
