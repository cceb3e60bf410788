#include "cmd/etcdutl/snap_files.h"

#include <algorithm>

#include "snap/snapshotter.h"

namespace quoin::utl {

Result<std::vector<SnapFile>> list_snap_files(io::FileSystem& fs, const std::string& snap_dir) {
  ASSIGN_OR_RETURN(const auto entries, fs.list(snap_dir));
  std::vector<SnapFile> out;
  for (const io::DirEntry& entry : entries) {
    SnapFile file;
    if (!snap::parse_snap_name(entry.name, &file.term, &file.index)) continue;
    file.name = entry.name;
    out.push_back(std::move(file));
  }
  std::reverse(out.begin(), out.end());  // they came sorted by name, and so by term and index
  return out;
}

Result<raft::Snapshot> read_snap_file(io::FileSystem& fs, const std::string& snap_dir,
                                      const std::string& name) {
  ASSIGN_OR_RETURN(std::string bytes, io::read_file(fs, snap_dir + "/" + name, snap::kSnapBytesMax));
  return snap::decode_snap(Blob::copy(bytes));
}

Result<std::optional<raft::Snapshot>> newest_usable_snapshot(
    io::FileSystem& fs, const std::string& snap_dir, const std::vector<wal::SnapshotRecord>& records) {
  ASSIGN_OR_RETURN(const auto files, list_snap_files(fs, snap_dir));
  for (const SnapFile& file : files) {
    auto snapshot = read_snap_file(fs, snap_dir, file.name);
    if (!snapshot) continue;
    const raft::SnapshotMetadata& at = snapshot->metadata;
    const bool recorded = std::any_of(records.begin(), records.end(), [&](const wal::SnapshotRecord& r) {
      return r.index == at.index && r.term == at.term;
    });
    if (recorded) return std::optional(std::move(*snapshot));
  }
  return std::optional<raft::Snapshot>();
}

}  // namespace quoin::utl
