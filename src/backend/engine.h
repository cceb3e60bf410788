// What the backend asks of the file that holds the state: ten ordered buckets, one writer, snapshots, one
// atomic durable commit at a time. bolt stands behind it (bolt_engine.h); another engine may stand beside it.
//
// Threads: confined to the file strand (before it runs: whoever opens), except snapshots: any number of
// threads may use one at once, and the last reference may be dropped on any thread.
// Lifetime: a snapshot may outlive its Engine: it keeps what it reads from. (Views go on reading the old file
// when a defragmentation has put another in its place.)
// Errors: a failed commit() promises nothing about the file: the engine is dead afterwards, snapshots taken
// before stay readable. kCorruption from a read names the file and the page.
#pragma once
#include <absl/functional/any_invocable.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/result.h"

namespace quoin::backend {

// One key's change. The bytes belong to whoever made the batch.
struct Change {
  std::string_view key;
  std::string_view value;
  bool erase = false;  // of a key that may be missing
};

// What one commit changes: per bucket, ascending by key, each key once.
struct Batch {
  std::array<std::vector<Change>, kBucketCount> changes;

  std::vector<Change>& of(Bucket bucket) { return changes[static_cast<int>(bucket)]; }
  const std::vector<Change>& of(Bucket bucket) const { return changes[static_cast<int>(bucket)]; }
  bool empty() const {
    for (const auto& c : changes) {
      if (!c.empty()) return false;
    }
    return true;
  }
};

// The state after one commit. Immutable. Bytes handed out live as long as the snapshot.
class EngineSnapshot {
 public:
  virtual ~EngineSnapshot() = default;
  Result<std::optional<std::string_view>> get(Bucket bucket, std::string_view key) const {
    return get(bucket, key, nullptr);
  }
  // `hint` may be null. One of this snapshot and bucket, or a new one.
  virtual Result<std::optional<std::string_view>> get(Bucket bucket, std::string_view key,
                                                      View::Hint* hint) const = 0;
  // The same for up to View::kGroupMax keys; value i goes to out[i].
  virtual Result<> get_group(Bucket bucket, std::span<const std::string_view> keys,
                             std::optional<std::string_view>* out) const {
    for (size_t i = 0; i < keys.size(); ++i) {
      ASSIGN_OR_RETURN(out[i], get(bucket, keys[i]));
    }
    return {};
  }
  // Keys in [from, to), ascending; `to` empty: to the end.
  virtual Result<> scan(Bucket bucket, std::string_view from, std::string_view to,
                        const PairVisitor& visit) const = 0;
  // The file as Maintenance.Snapshot sends it (spec storage-formats 6.1).
  virtual uint64_t copy_size() const = 0;
  virtual Result<> read_copy(uint64_t offset, std::span<char> out) const = 0;
};

// How long the parts of a commit took.
struct CommitTimes {
  int64_t rebalance_ns = 0;
  int64_t spill_ns = 0;
  int64_t write_ns = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;  // drops the lock; nothing is written
  // Of the newest commit.
  virtual std::unique_ptr<EngineSnapshot> snapshot() = 0;
  // Makes `batch` durable as one commit. One at a time; the batch stays untouched until `done` runs, which is
  // always as a later task of the file strand.
  virtual void commit(const Batch& batch, absl::AnyInvocable<void(Result<CommitTimes>)> done) = 0;
  // As of the newest commit: high-water mark * page size; the same without free pages.
  virtual uint64_t size() const = 0;
  virtual uint64_t size_in_use() const = 0;
  // What the file may grow to: Options::map_bytes, or less where the system has less address space. A commit
  // that needs more fails with kLimit.
  virtual uint64_t size_max() const = 0;
  // Of an engine that was opened for filling: its file is complete, the next commits come in any order.
  virtual void end_filling() = 0;
  // Stores what a clean stop stores. No snapshot is open, no commit under way; only the destructor follows.
  virtual void close(absl::AnyInvocable<void(Result<>)> done) = 0;
};

class EngineFactory {
 public:
  virtual ~EngineFactory() = default;
  // Blocking. Opens or creates the file, locks it, makes missing buckets. The commits of an engine made with
  // `filling` append at the right end (Defragment's copy), so its pages are packed tightly, until
  // end_filling().
  virtual Result<std::unique_ptr<Engine>> open(const std::string& path, bool filling) = 0;
};

// Backend over any engine; Backend::open is this with bolt. `factory` opens Options::path and, for
// Defragment, a new file beside it.
Result<std::unique_ptr<Backend>> open_with_engine(const Options& options,
                                                  std::unique_ptr<EngineFactory> factory, io::FileSystem& fs,
                                                  io::Executor& apply, io::Executor& file,
                                                  io::TimerService& timers, io::Clock& clock,
                                                  metrics::Registry& metrics, log::Logger& log);

}  // namespace quoin::backend
