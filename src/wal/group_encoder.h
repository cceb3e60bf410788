// What one write to the log holds: the batches of a group as frames, each hard state where it belongs.
//
// Hard states move far more often than they must be written, so only the newest is kept and it is written
// where something depends on its place:
//   - before a configuration change: the commit of the change before must not be lost while the next change is
//     kept, or a restarted member would count votes by a configuration two changes old. That commit may come with
//     the next change, in one batch. Of a commit only as much is written as entries stand before it;
//   - before a snapshot record: the record only counts if a commit that covers it stands in the log;
//   - behind the record of a received snapshot, before the first entry: without a commit that covers the record,
//     the entries would stand behind a gap;
//   - at the end of a write.
//
// Threads: confined to its owner. Entries must stay until clear().
#pragma once
#include <string_view>
#include <vector>

#include "raft/types.h"
#include "wal/record.h"

namespace quoin::wal {

class GroupEncoder {
 public:
  // The log ends with this CRC, hard state and index.
  GroupEncoder(uint32_t crc, const raft::HardState& state, quoin::Index last)
      : encoder_(crc), state_(state), written_state_(state), last_(last) {}

  // A batch: entries, then the hard state (empty: none), then the snapshot record (null: none).
  void add(const std::vector<raft::Entry>& entries, const raft::HardState& state,
           const SnapshotRecord* snapshot);
  // A batch that needs no write: its hard state waits for the next one.
  void keep(const raft::HardState& state) {
    if (!state.empty()) state_ = state;
  }
  // All batches of the write have been added.
  void finish() { add_state(); }
  // The records a segment begins with. The hard state also if it was read at start-up: the segments that hold
  // it may be purged.
  void begin_segment(std::string_view metadata);

  // Index of the last entry or snapshot record added.
  quoin::Index last_index() const { return last_; }
  std::vector<std::string_view> parts() const { return encoder_.parts(); }
  uint64_t bytes() const { return encoder_.bytes(); }
  bool empty() const { return encoder_.empty(); }
  void clear() { encoder_.clear(); }

 private:
  void add_state();

  BatchEncoder encoder_;
  raft::HardState state_;          // newest given
  raft::HardState written_state_;  // newest in the file or in encoder_
  quoin::Index last_;
  bool received_ = false;  // behind a received snapshot's record the hard state is still due
};

}  // namespace quoin::wal
