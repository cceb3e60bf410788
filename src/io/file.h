// Files and directories. Everything durable is reached through these, so that `sim` can lose or tear writes,
// flip bits, delay operations and let them fail.
//
// Two kinds of calls:
//   blocking      return when done. Only for start-up and the offline tools.
//   asynchronous  (async_*) return at once; the completion runs as a task of the executor the FileSystem was
//                 made for. Operations of one File are carried out in the order submitted. `posix` does them
//                 on the stage's own thread; `sim` delays them in virtual time and may crash between submit
//                 and completion.
//
// Durability model (what a crash may do), which `sim` enforces:
//   - bytes written and not covered by a completed sync() of that file may be lost in part, in any order, at
//     512-byte granularity (torn writes), as if they never happened;
//   - a size change is durable with the next completed sync() of the file;
//   - a created, renamed or removed name is durable only after a completed sync_dir() of its directory; until
//     then a crash may show the state before, for each name by itself;
//   - a failed sync means: assume nothing; the caller stops.
//
// Threads: confined to the executor the FileSystem was made for (blocking calls: before it runs), except that
// Mapping::data() may be read on any thread.
// Errors: kFileNotFound, kFileExists, kNoSpaceOnDevice, kLocked, kIo (text names operation and path).
#pragma once
#include <absl/functional/any_invocable.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quoin::io {

using Completion = absl::AnyInvocable<void(Result<>)>;

// A read-only view of a file whose base address never moves.
class Mapping {
 public:
  virtual ~Mapping() = default;
  virtual const char* data() const = 0;
  // Bytes that may be read from data(): the smaller of what was reserved and the file size at the last
  // refresh(). Reading beyond is undefined.
  virtual uint64_t size() const = 0;
  // Makes a file that has grown (or been cut) since visible; the base stays. kLimit if the file outgrew the
  // reservation. Shrinking never unmaps the reservation.
  virtual Result<> refresh() = 0;
};

enum class LockMode { kShared, kExclusive };

class File {
 public:
  virtual ~File() = default;  // closes; drops locks
  virtual const std::string& path() const = 0;

  // ---- blocking ----
  // Reads up to out.size() bytes; fewer only at the end of the file. Returns the number read.
  virtual Result<size_t> read_at(uint64_t offset, std::span<char> out) = 0;
  virtual Result<> write_at(uint64_t offset, std::string_view bytes) = 0;
  virtual Result<> sync() = 0;  // fdatasync: data and what is needed to read it back, size included
  virtual Result<> truncate(uint64_t size) = 0;  // shrink or extend with zeros
  virtual Result<> allocate(uint64_t size) = 0;  // extend to `size`, blocks reserved, zeros; never shrinks
  virtual Result<uint64_t> size() = 0;
  // flock(2), not waiting: kLocked if another process or handle has it.
  virtual Result<> lock(LockMode mode) = 0;
  // Whole-file open-file-description write lock (fcntl F_OFD_SETLK), as etcd holds on WAL segments.
  virtual Result<> lock_ofd() = 0;
  virtual Result<> unlock() = 0;
  // Reserves `reserve_bytes` of address space and shows the file in it. `prefault`: read pages in ahead.
  virtual Result<std::unique_ptr<Mapping>> map(uint64_t reserve_bytes, bool prefault) = 0;

  // ---- asynchronous ----
  // Writes the parts one after the other from `offset`. The bytes must stay until the completion runs; the
  // vector of views itself is taken over. All or error (a failed write may have written any part).
  virtual void async_write(uint64_t offset, std::vector<std::string_view> parts, Completion done) = 0;
  virtual void async_sync(Completion done) = 0;
  virtual void async_truncate(uint64_t size, Completion done) = 0;
  virtual void async_allocate(uint64_t size, Completion done) = 0;
};

struct OpenOptions {
  bool write = false;
  bool create = false;     // with write: make it if it is missing
  bool exclusive = false;  // with create: kFileExists if it is there
  bool truncate = false;   // with write: cut to 0
  uint32_t mode = 0600;    // of a new file, before umask
};

struct DirEntry {
  std::string name;
  bool directory = false;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // ---- blocking ----
  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenOptions options) = 0;
  virtual Result<> make_dir(const std::string& path, uint32_t mode) = 0;    // ok if it is there already
  virtual Result<> make_dirs(const std::string& path, uint32_t mode) = 0;   // with all parents
  virtual Result<std::vector<DirEntry>> list(const std::string& path) = 0;  // sorted by name
  virtual Result<bool> exists(const std::string& path) = 0;
  virtual Result<> rename(const std::string& from,
                          const std::string& to) = 0;        // files or directories; replaces a file
  virtual Result<> remove(const std::string& path) = 0;      // a file; kFileNotFound if missing
  virtual Result<> remove_all(const std::string& path) = 0;  // a tree; ok if missing
  virtual Result<> sync_dir(const std::string& path) = 0;
  virtual Result<uint32_t> permissions(const std::string& path) = 0;  // mode & 0777

  // ---- asynchronous ----
  virtual void async_open(const std::string& path, OpenOptions options,
                          absl::AnyInvocable<void(Result<std::unique_ptr<File>>)> done) = 0;
  virtual void async_rename(const std::string& from, const std::string& to, Completion done) = 0;
  virtual void async_remove(const std::string& path, Completion done) = 0;
  virtual void async_sync_dir(const std::string& path, Completion done) = 0;
};

// Reads a whole file of at most `limit` bytes (kLimit if longer). Blocking.
Result<std::string> read_file(FileSystem& fs, const std::string& path, uint64_t limit);

}  // namespace quoin::io
