// The snap directory: raft snapshots `%016x-%016x.snap` (term, index) and databases received from a leader,
// `%016x.snap.db` (index).
//
// A `.snap` is a checksum around an encoded raftpb.Snapshot. It is written in place and synced, and then its
// directory (etcd leaves that out); an incomplete one left by a crash is harmless, because it counts only if
// the WAL holds a record for it, and that is written afterwards. Format and rules: docs/formats/snap.md, spec
// storage-formats 4.
//
// Threads: confined to the append strand (before it runs: whoever starts up). open(), load_newest() and
// db_path() block: start-up and tools only.
// Errors: kNotFound "snap: no available snapshot"; kFileNotFound "snap: snapshot file doesn't exist";
// kCorruption "snap: empty snapshot", "snap: crc mismatch", protobuf texts; kIo and such from the file
// system.
#pragma once
#include <absl/functional/function_ref.h>

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "io/clock.h"
#include "io/file.h"
#include "raft/types.h"

namespace quoin::snap {

std::string snap_name(Term term, Index index);  // "%016x-%016x.snap"
std::string snap_db_name(Index index);          // "%016x.snap.db"
bool parse_snap_name(std::string_view name, Term* term, Index* index);
bool parse_snap_db_name(std::string_view name, Index* index);

// The bytes of a `.snap` file.
std::string encode_snap(const raft::Snapshot& snapshot);
// The whole file; data is a slice of `bytes`.
Result<raft::Snapshot> decode_snap(const Blob& bytes);

// Metrics of spec operations 5.3.
struct Probe {
  explicit Probe(metrics::Registry& registry);
  metrics::Histogram& fsync_seconds;  // write and fsync of a .snap
  metrics::Histogram& marshal_seconds;
  metrics::Histogram& save_seconds;  // all of it
  metrics::Histogram& db_fsync_seconds;
  metrics::Histogram& db_save_seconds;
};

// A file of at most this many bytes is taken for a snapshot (its data is the membership text).
constexpr uint64_t kSnapBytesMax = 1ull << 30;

class Snapshotter {
 public:
  // All outlive it.
  Snapshotter(io::FileSystem& fs, std::string dir, const io::Clock& clock, log::Logger& log, Probe& probe);
  ~Snapshotter();

  // ---- start-up (blocking) ----
  // Removes `tmp*` and `db.tmp*` (partial receives and defragmentations), warns about names it does not know,
  // and learns the rest. Before anything below.
  Result<> open();
  // Names of `.snap` files, newest first.
  std::vector<std::string> snap_names() const { return {snaps_.rbegin(), snaps_.rend()}; }
  // The newest snapshot for which `usable(term, index)` holds: the one that a WAL record names. Files tried
  // on the way that do not load are renamed to `<name>.broken`. kNotFound if there is none.
  Result<raft::Snapshot> load_newest(absl::FunctionRef<bool(Term, Index)> usable);
  // Path of the database received for `index`; kFileNotFound.
  Result<std::string> db_path(Index index);

  // ---- running ----
  // Writes and syncs the file of `snapshot` and its name; a failed one is removed. The WAL record comes after
  // `done`.
  void save(const raft::Snapshot& snapshot, io::Completion done);
  // Removes `.snap.db` files with an index below `index`.
  void release_snap_dbs(Index index, io::Completion done);
  // The WAL's record for this snapshot is durable: what is older is no longer needed.
  void recorded(Term term, Index index);
  // Removes the oldest `.snap`, then the oldest `.snap.db`, while more than `files_max` of the kind remain.
  // 0: keeps all. The newest file that has a record in the WAL stays, and so do newer ones. Files without a
  // record were left by processes that ended before they wrote it; they must not displace the one with a
  // record.
  void purge(size_t files_max, io::Completion done);

  // Name for receiving a database into: `tmp` and a number, in the directory; unique within the process. Any
  // thread.
  std::string new_tmp_path();
  // Makes a received and synced temporary file the database of `index`: renames it and syncs the directory.
  // If that name exists already the temporary file is removed instead; the file that is there, and its name,
  // are synced first, since the life that received it may have ended before that.
  void commit_db(const std::string& tmp_path, Index index, io::Completion done);

  // The file of commit_db() has been renamed away, to become the db.
  void db_taken(Index index) { dbs_.erase(snap_db_name(index)); }

  const std::string& dir() const { return dir_; }

 private:
  struct Saving;
  struct Existing;
  std::string path(const std::string& name) const { return dir_ + "/" + name; }
  Result<raft::Snapshot> load(const std::string& name);
  void write(const std::shared_ptr<Saving>& saving);
  std::shared_ptr<Saving> take(Saving* saving);
  void saved(Saving& saving);
  void save_failed(const std::shared_ptr<Saving>& saving, const Error& error);
  void sync_existing(const std::string& name, const std::string& tmp_path, io::Completion done);
  void remove_files(std::vector<std::string> names, size_t at, std::string_view message, io::Completion done);

  io::FileSystem& fs_;
  const std::string dir_;
  const io::Clock& clock_;
  log::Logger& log_;
  Probe& probe_;
  std::set<std::string> snaps_, dbs_;  // names in the directory
  Term needed_term_;                   // of the newest snapshot with a record; 0: none
  Index needed_index_;
  std::vector<std::shared_ptr<Saving>> saving_;    // writes under way
  std::list<std::unique_ptr<Existing>> existing_;  // files being synced once more
  std::atomic<uint64_t> next_tmp_{0};
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace quoin::snap
