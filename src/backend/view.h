// File and segments seen as one.
//
// Threads: a SegmentedView is immutable; any thread may read it, and drop it or a SnapshotRef.
#pragma once
#include <atomic>
#include <memory>

#include "backend/backend.h"
#include "backend/engine.h"
#include "backend/probe.h"
#include "backend/segment.h"

namespace quoin::backend {

using SnapshotRef = std::shared_ptr<const EngineSnapshot>;

// Opens snapshots (file strand) and counts those that live (any thread).
class SnapshotOpener {
 public:
  explicit SnapshotOpener(std::shared_ptr<Probe> probe) : probe_(std::move(probe)) {}
  SnapshotRef open(Engine& engine);
  uint64_t open_count() const { return count_->load(std::memory_order_relaxed); }

 private:
  std::shared_ptr<Probe> probe_;
  std::shared_ptr<std::atomic<uint64_t>> count_ = std::make_shared<std::atomic<uint64_t>>(0);
};

class SegmentedView final : public View {
 public:
  // `frozen` may be null; of `active` records [0, active_count) are seen. Records of the snapshot are older
  // than those of `frozen`, and these than those of `active`.
  SegmentedView(SnapshotRef snapshot, std::shared_ptr<const Segment> frozen,
                std::shared_ptr<const Segment> active, uint64_t active_count)
      : snapshot_(std::move(snapshot)),
        frozen_(std::move(frozen)),
        active_(std::move(active)),
        active_count_(active_count) {}

  using View::record;
  Result<std::string_view> record(Revision revision, Hint* hint) const override;
  Result<> records(std::span<const Revision> revisions, std::string_view* out) const override;
  Result<> scan_records(Revision from, Revision to, const RecordVisitor& visit) const override;

 private:
  // In the segments; empty if the record can only be in the snapshot.
  std::optional<Result<std::string_view>> recent(Revision revision) const;

  SnapshotRef snapshot_;
  std::shared_ptr<const Segment> frozen_;
  std::shared_ptr<const Segment> active_;
  uint64_t active_count_;
};

// Pairs of `snapshot` overlaid with those of the segments, the last of which wins. Null segments are skipped.
Result<> merged_scan(const EngineSnapshot& snapshot, const Segment* older, const Segment* newer,
                     Bucket bucket, std::string_view from, std::string_view to, const PairVisitor& visit);

}  // namespace quoin::backend
