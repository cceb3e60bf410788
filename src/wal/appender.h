// Appends to an opened log: the state machine of the append strand.
//
//   save(...) save(...) save(...)          any number may queue
//        └──────┬──────┘
//   one write + one fdatasync              exactly one outstanding; the next covers all queued meanwhile
//        └► [segment full: cut]            old segment cut and synced, new one written, synced, renamed, the
//             └► done, done, done          directory synced; only then are the batches acknowledged
//
// Rules
//   - Completions run in the order of the calls, as tasks of the executor, never inside a call.
//   - A batch is synced iff it has entries, a snapshot record, another term or vote than the last hard state, or
//     the first commit that reaches a snapshot record or a configuration change saved before. (A voter whose only
//     companion has been removed would wait for it for ever, had it forgotten that commit.) A hard state that moves only the commit is
//     kept in memory otherwise and written with the next batch (or close()); only the newest is kept. A crash may
//     lose it.
//   - It is also written before a batch that holds a configuration change (wal/group_encoder.h).
//   - A snapshot record is written behind every hard state saved before it. For a snapshot that this member
//     made, the caller has saved one whose commit is at least its index. For a received one the caller saves
//     the record first, then a hard state whose commit is the snapshot's index, then the entries, then the
//     newest hard state. Torn between them, the log can be opened: a record beyond the commit is ignored, while
//     a commit beyond the last entry, or an entry beyond a gap, could not be read.
//   - After a failed write or sync nothing is acknowledged any more: `on_failure` runs once with the first
//     error, all completions but that of close() are dropped, later calls do nothing. The owner stops the
//     member.
//   - With unsafe_no_fsync segments are never synced; all else is the same.
//   - Entry data is not copied but for small pieces (kInlineBytes): the write takes frame heads from one
//     buffer and data from the entries' Blobs, which the batch keeps alive.
//
// The next segment is prepared ahead in `0.tmp` or `1.tmp`, preallocated and locked.
//
// Threads: confined to the executor the file system was made for.
// Ownership: takes the Tail over. `fs`, `executor`, `clock`, `log`, `probe` outlive it. Destroy it after the
// completion of close(), after on_failure, or when the process ends, but not inside one of its callbacks;
// completions outstanding are dropped.
// Bounds: the caller bounds what it has queued (queued_bytes()).
// Rules: design.md section 5 (WAL), spec storage-formats 3.4, 3.7.
#pragma once
#include <absl/functional/any_invocable.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "io/clock.h"
#include "io/executor.h"
#include "io/file.h"
#include "raft/types.h"
#include "wal/probe.h"
#include "wal/wal.h"

namespace quoin::wal {

struct AppenderOptions {
  uint64_t segment_bytes = kSegmentBytes;
  bool unsafe_no_fsync = false;
};

class Appender {
 public:
  using Done = absl::AnyInvocable<void()>;
  using Closed = absl::AnyInvocable<void(Result<>)>;

  Appender(io::FileSystem& fs, io::Executor& executor, const io::Clock& clock, log::Logger& log, Probe& probe,
           AppenderOptions options, Tail tail, absl::AnyInvocable<void(Error)> on_failure);
  ~Appender();
  Appender(const Appender&) = delete;
  Appender& operator=(const Appender&) = delete;

  // Entries as raft hands them out: contiguous, and if they begin at or below the last index saved they
  // replace what was there. An empty hard state is none. `done` may be null.
  void save(const raft::HardState& hard_state, std::vector<raft::Entry> entries, Done done);
  // `record.index` 0 or with a conf_state (etcd refuses to write others).
  void save_snapshot(SnapshotRecord record, Done done);

  // Drops the locks of segments that hold nothing beyond `index`, so that purge() may take them. `index`: of a snapshot
  // whose record is saved, and a hard state whose commit reaches it; without that the log would start before it.
  void release_lock_to(quoin::Index index);
  // Removes the oldest segments while more than `segments_max` remain, up to the first that is locked (by
  // this log or another process) or can't be opened. 0: keeps all. One at a time; a call while one runs
  // completes with it.
  void purge(size_t segments_max, io::Completion done);

  // Writes what is buffered, with `hard_state` last (if not empty; its commit is at least the consistent
  // index), syncs, and removes the prepared segment. Nothing may be saved afterwards. `closed` always runs,
  // with the error if the log has failed or fails meanwhile.
  void close(const raft::HardState& hard_state, Closed closed);

  // Bytes of entry data and snapshot records saved and not yet acknowledged.
  uint64_t queued_bytes() const;
  // When the write and sync that is outstanding began; none if idle. To tell a stuck disk.
  std::optional<io::MonotonicNs> busy_since() const;
  // Index of the last entry (or snapshot record beyond it) handed to save().
  quoin::Index last_index() const;
  // Segments held locked, oldest first.
  std::vector<std::string> locked_segments() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quoin::wal
