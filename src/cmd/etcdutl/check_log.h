// The part of `check` that looks at a log: its segments are read as one stream, from the oldest to the end.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cmd/etcdutl/job.h"
#include "cmd/etcdutl/report.h"
#include "raft/types.h"
#include "wal/log_reader.h"
#include "wal/wal.h"

namespace quoin::utl {

struct LogFacts {
  bool there = false;                          // it has a segment
  bool read_to_the_end = false;                // no damage but perhaps a torn tail
  std::string metadata;                        // etcdserverpb.Metadata; empty: none was read
  raft::HardState hard_state;                  // the last one
  Index last;                                  // of the newest entry, or of a snapshot record beyond it
  std::vector<wal::SnapshotRecord> snapshots;  // all, in order
  struct Change {
    Index index;
    raft::ConfChange change;
  };
  std::vector<Change> changes;  // of the configuration, that were not replaced
  // Indexes that no entry stands for, within the log: [from, to).
  struct Gap {
    Index from, to;
  };
  std::vector<Gap> gaps;
  Index first;                         // of the oldest entry
  std::optional<Term> term_asked_for;  // of the entry at the index asked for
  // Where reading ended before the end of the file, and what stands beyond.
  std::string end;  // "file '...' at position 1234"
  bool torn = false;
  wal::Beyond beyond;
};

// `asked_for`: the database's consistent index. Errors: kStopped.
Result<LogFacts> check_log(const std::string& dir, Index asked_for, io::FileSystem& fs, const Job& job,
                           Report* report);

}  // namespace quoin::utl
