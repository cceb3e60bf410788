// The stable log in memory: entries above the newest compaction, the newest snapshot's metadata, hard
// state. A server keeps one beside its WAL (the WAL is read only at start); tests use it alone.
//
// Entries occupy [first_index(), last_index()]; the entry just below is the compaction point, of which only
// the term is kept. Appending over existing entries replaces them and cuts what follows.
// Threads: confined to the strand that owns the raft node.
// Calls that would leave a hole or go below the snapshot are bugs (CHECK) unless a Result says otherwise.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "raft/entry_queue.h"
#include "raft/storage.h"

namespace quoin::raft {

class MemoryStorage : public Storage {
 public:
  MemoryStorage();

  InitialState initial_state() const override { return {hard_state_, snapshot_->metadata.conf_state}; }
  Result<> entries(Index lo, Index hi, uint64_t bytes_max, std::vector<Entry>& out) const override;
  Result<Term> term(Index index) const override;
  Index first_index() const override { return compacted_.index + 1; }
  Index last_index() const override { return compacted_.index + entries_.size(); }
  // The one given to apply_snapshot or create_snapshot last; empty (index 0) before.
  Result<std::shared_ptr<const Snapshot>> snapshot() const override { return snapshot_; }

  void set_hard_state(const HardState& hard_state) { hard_state_ = hard_state; }
  // Entries with consecutive indexes; what is already compacted among them is skipped.
  void append(std::vector<Entry> entries);
  // Replaces everything by a snapshot. kInvalidArgument if it is older than the one held.
  Result<> apply_snapshot(std::shared_ptr<const Snapshot> snapshot);
  // Makes a snapshot of the state at `index` (at most last_index()). kInvalidArgument if the one held is as
  // new.
  Result<std::shared_ptr<const Snapshot>> create_snapshot(Index index, const ConfState* conf_state,
                                                          Blob data);
  // Drops entries up to and including `index`. kLogCompacted if that is done already.
  Result<> compact(Index index);
  // What the entries hold: their data and themselves. The owner bounds it by compacting.
  uint64_t bytes() const { return bytes_; }
  // The lowest index to compact to, at most `limit`, so that no more than `bytes_max` are left.
  Index compaction_within(uint64_t bytes_max, Index limit) const;

 private:
  HardState hard_state_;
  std::shared_ptr<const Snapshot> snapshot_;
  EntryId compacted_;
  EntryQueue entries_;
  uint64_t bytes_ = 0;
};

}  // namespace quoin::raft
