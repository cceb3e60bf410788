// The write-ahead log on disk: making, opening, repairing and reading it. etcd's format byte for byte.
// Writing to an opened log is wal/appender.h. Everything here blocks: for start-up and the offline tools.
//
// A log is a directory of segment files `%016x-%016x.wal` (sequence number, index of the first entry expected
// in it). Segments are streams of framed records under one rolling CRC: metadata, entries, hard states,
// snapshot records, and one record at the head of each segment that restates the CRC.
// Format, and what is torn and what is corrupt: docs/formats/wal.md. Rules: spec storage-formats 3.
//
// Threads: one at a time for one directory; nothing is shared.
// Ownership: entries hold slices of the blocks read (at most kReadBlockBytes each, or one record).
// Errors (texts are etcd's where it has one):
//   kFileNotFound   "wal: file not found", "wal: file not found which matches the snapshot index '%d'"
//   kFileExists     "file already exists": create() where a log is
//   kLocked         another process has a segment open for append
//   kCorruption     a record does not hold and it is not a torn tail; names file and position
//   kTornTail       the last segment ends in an incomplete record (repair failed or is not allowed)
//   kMalformed      "wal: conflicting metadata found", "wal: slice bounds out of range, ...", "wal: snapshot
//                   mismatch", "unexpected block type %d", sequence numbers with gaps
//   kIo, kNoSpaceOnDevice from the file system
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/blob.h"
#include "base/log.h"
#include "base/result.h"
#include "io/file.h"
#include "raft/types.h"

namespace quoin::wal {

// A segment is cut when it has reached this size; a new one is preallocated to it.
constexpr uint64_t kSegmentBytes = 64'000'000;
constexpr uint64_t kReadBlockBytes = 1 << 20;

// walpb.Snapshot: a raft snapshot is saved and may be started from. {0, 0} is the start of every log.
struct SnapshotRecord {
  quoin::Index index;
  quoin::Term term;
  std::optional<raft::ConfState> conf_state;  // 3.5 and later; none at 0/0
};

// What a log holds beyond a snapshot position.
struct Contents {
  Blob metadata;  // etcdserverpb.Metadata as it was given to create()
  raft::HardState hard_state;
  std::vector<raft::Entry> entries;  // contiguous from start.index + 1; later writings replaced earlier ones
  // A record for the start position was seen. Reading for tools should insist on it ("wal: snapshot not
  // found"); etcd's start-up does not.
  bool snapshot_found = false;
  // Highest index this log vouches for: of its last entry, or of a snapshot record beyond it.
  quoin::Index last_index;
};

// Where appending goes on; made by open() and create(), taken over by Appender.
struct Tail {
  struct Segment {
    std::string name;
    uint64_t sequence;
    quoin::Index index;
    std::unique_ptr<io::File> file;  // holds the lock
  };
  std::string dir;
  std::vector<std::string> older;  // names of segments before the first one opened, oldest first
  std::vector<Segment> segments;   // locked; the last one is appended to
  uint64_t offset = 0;             // end of the last valid record
  uint32_t crc = 0;
  Blob metadata;
  raft::HardState hard_state;
  quoin::Index last_index;
  quoin::Index
      uncommitted_change;  // the newest entry beyond the commit that is a configuration change; 0: none
};

struct OpenedLog {
  Contents contents;
  Tail tail;
};

struct OpenOptions {
  // Entries up to here are known to have been acknowledged: the consistent index of the db. If the log ends
  // before it, damaged or not, open() refuses (kCorruption, by name) where etcd goes on. What stands beyond
  // damage counts in the same way (log_reader.h, Beyond).
  quoin::Index acknowledged;
  // Go on as etcd does: cut.
  bool allow_cut = false;
  // As far as the caller knows this member is the only one: nothing is committed before it is synced here, so
  // that a hard state proves what its commit covers. (A follower may get an entry and its commit in one
  // write.) If the log itself adds another member, it does not count.
  bool alone = false;
};

// Whether the directory holds a segment: "a member is initialised iff it does". A missing directory holds
// none.
Result<bool> exists(io::FileSystem& fs, const std::string& dir);

// Makes a log with one segment (crc, metadata, snapshot 0/0), durable, and opens it. `<dir>.tmp` is replaced
// on the way; whatever is in `dir` is removed.
Result<OpenedLog> create(io::FileSystem& fs, const std::string& dir, std::string_view metadata,
                         log::Logger& log);

// Opens for append at a snapshot position: locks the segments from there on, reads all, repairs a torn tail
// once (the whole file is kept as `<name>.broken`), and zeroes what follows the last valid record.
Result<OpenedLog> open(io::FileSystem& fs, const std::string& dir, const SnapshotRecord& start,
                       const OpenOptions& options, log::Logger& log);

// Reads without locks and without changing anything; a torn tail is the end.
Result<Contents> read(io::FileSystem& fs, const std::string& dir, const SnapshotRecord& start,
                      log::Logger& log);

// The snapshot records of the whole log that may be started from, oldest first: all but those beyond the last
// hard state's commit. Reads without locks.
Result<std::vector<SnapshotRecord>> valid_snapshots(io::FileSystem& fs, const std::string& dir,
                                                    log::Logger& log);

// Checks a log from a position on for the offline tools: as read(), and the position's record must be there.
// Returns the last hard state.
Result<raft::HardState> verify(io::FileSystem& fs, const std::string& dir, const SnapshotRecord& start,
                               log::Logger& log);

// "%016x-%016x.wal".
std::string segment_name(uint64_t sequence, quoin::Index index);
bool parse_segment_name(std::string_view name, uint64_t* sequence, quoin::Index* index);

}  // namespace quoin::wal
