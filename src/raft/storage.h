// The stable part of raft's log, as raft reads it. Its entries are durable, or a stage makes them durable
// before anything that depends on them leaves the member.
//
// raft only reads. Whoever handles a Ready writes (MemoryStorage is the usual implementation), and only
// between calls into raft.
// Threads: confined to the strand that owns the raft node.
// Errors:
//
//   kLogCompacted: the index lies below the first index kept (for term(): below first_index() - 1)
//
//   kLogUnavailable: the index lies beyond the last one
//
//   kSnapshotTemporarilyUnavailable: snapshot() only: try again later
//
// raft treats any other error as a bug and stops.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "raft/types.h"

namespace quoin::raft {

class Storage {
 public:
  struct InitialState {
    HardState hard_state;
    ConfState conf_state;
  };
  virtual ~Storage() = default;

  virtual InitialState initial_state() const = 0;
  // Appends to `out` the longest run from `lo` within [lo, hi) whose encoded sizes sum up to at most
  // `bytes_max`, but at least one entry. `lo` < `hi`.
  virtual Result<> entries(Index lo, Index hi, uint64_t bytes_max, std::vector<Entry>& out) const = 0;
  // Known for [first_index() - 1, last_index()]: the term of the compaction point stays.
  virtual Result<Term> term(Index index) const = 0;
  // first_index() > last_index() means that the log is empty. A fresh log starts at 1.
  virtual Index first_index() const = 0;
  virtual Index last_index() const = 0;
  // The newest snapshot that can be sent to a follower; its index is at least first_index() - 1.
  virtual Result<std::shared_ptr<const Snapshot>> snapshot() const = 0;
};

}  // namespace quoin::raft
