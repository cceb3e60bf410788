// The `.snap` files of a member that does not run, read without changing anything. (The member itself renames those
// that it cannot read.)
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/file.h"
#include "raft/types.h"
#include "wal/wal.h"

namespace quoin::utl {

struct SnapFile {
  std::string name;
  Term term;
  Index index;
};
// Newest first. Errors: those of the file system.
Result<std::vector<SnapFile>> list_snap_files(io::FileSystem& fs, const std::string& snap_dir);
Result<raft::Snapshot> read_snap_file(io::FileSystem& fs, const std::string& snap_dir,
                                      const std::string& name);

// The newest that can be read and for which the log has one of `records`; nothing if there is none.
Result<std::optional<raft::Snapshot>> newest_usable_snapshot(io::FileSystem& fs, const std::string& snap_dir,
                                                             const std::vector<wal::SnapshotRecord>& records);

}  // namespace quoin::utl
