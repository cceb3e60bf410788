// The part of the log that is not known to be durable: a snapshot that was received but not yet installed,
// and the entries above it.
//
//   entries()[i] has index offset() + i
//   entries below in_progress() have been handed to storage, so have those a snapshot in progress replaces;
//   they stay here until storage confirms them, since they may still be replaced by another leader's
//
// Entries may overlap the stable log: the ones here win, for they are what a newer leader sent.
// Source: spec raft-and-peers 7.1, 15.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "raft/entry_queue.h"
#include "raft/observer.h"
#include "raft/types.h"

namespace quoin::raft {

class Unstable {
 public:
  // `offset`: the index after the last stable entry. `observer` outlives this.
  Unstable(Index offset, Observer& observer) : offset_(offset), in_progress_(offset), observer_(&observer) {}

  Index offset() const { return offset_; }
  Index in_progress() const { return in_progress_; }
  size_t size() const { return entries_.size(); }
  bool has_entries() const { return !entries_.empty(); }
  Index end() const { return offset_ + entries_.size(); }
  const std::shared_ptr<const Snapshot>& snapshot() const { return snapshot_; }

  // The index after the snapshot's, if there is one.
  std::optional<Index> first_index() const;
  std::optional<Index> last_index() const;
  std::optional<Term> term(Index index) const;
  // Entries [lo, hi); offset() <= lo <= hi <= end().
  std::span<const Entry> range(Index lo, Index hi) const {
    return entries_.range(lo - offset_, hi - offset_);
  }

  // What storage has not been given yet.
  std::span<const Entry> next_entries() const { return range(in_progress_, end()); }
  std::shared_ptr<const Snapshot> next_snapshot() const {
    return snapshot_in_progress_ ? nullptr : snapshot_;
  }
  void accept_in_progress();

  // Storage confirmed everything up to `id`. Ignored if the entry there has been replaced since.
  void stable_to(EntryId id);
  void stable_snapshot_to(Index index);

  // Replaces everything.
  void restore(std::shared_ptr<const Snapshot> snapshot);
  // Non-empty, consecutive, starting at most at end(); replaces whatever is at or above its first index.
  void truncate_and_append(std::span<Entry> entries);

 private:
  Index offset_;
  Index in_progress_;
  EntryQueue entries_;
  std::shared_ptr<const Snapshot> snapshot_;
  bool snapshot_in_progress_ = false;
  Observer* observer_;
};

}  // namespace quoin::raft
