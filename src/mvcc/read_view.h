// The store as of one revision: what apply publishes after each batch and any thread may read.
//
// Threads: immutable; every method may be called on any thread. Dropping the last reference may happen on any
// thread: it only marks the view as closed, and the apply strand frees what nobody can see any more
// (Store::maintain, Store::publish).
// Lifetime: records handed out live as long as the view. Holding a view keeps segments and file pages from
// being reused and puts off index compaction, so its holder bounds the time (design.md section 1, "A read
// view").
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/ids.h"
#include "base/result.h"
#include "mvcc/range.h"

namespace quoin::mvcc {

class IndexView;

// What the index knows of a key at some revision without touching its record.
struct KeyMeta {
  Revision revision;  // of the record; revision.main is mod_revision
  int64_t create_revision = 0;
  int64_t version = 0;
  bool has_lease = false;
};

// A hash stored by a compaction (spec storage-formats 7).
struct CompactionHash {
  int64_t revision = 0;
  int64_t compact_revision = -1;  // before that compaction
  uint32_t hash = 0;
};

// Parts of a view, as plain values: also what the apply strand reads between two publications.
struct Snapshot {
  int64_t revision = 1;
  int64_t compact_revision = -1;
  std::shared_ptr<const IndexView> index;
  std::shared_ptr<const backend::View> records;
  std::shared_ptr<const std::vector<CompactionHash>> hashes;  // newest last, at most 10
};

class ReadView {
 public:
  explicit ReadView(Snapshot parts) : parts_(std::move(parts)) {}

  int64_t revision() const { return parts_.revision; }
  int64_t compact_revision() const { return parts_.compact_revision; }  // -1 before the first compaction

  // The revision a read at `asked` reads: `asked`, or the view's for asked <= 0. kCompacted, kFutureRev.
  Result<int64_t> resolve(int64_t asked) const;
  // The key as of `revision` (which resolve() accepted); empty if it did not exist then.
  std::optional<KeyMeta> find(std::string_view key, int64_t revision) const;
  // The encoded KeyValue.
  Result<std::string_view> record(const KeyMeta& meta) const { return parts_.records->record(meta.revision); }
  // find and record in one: the fast way for a Range of one key. Empty if the key did not exist.
  Result<std::optional<std::string_view>> get(std::string_view key, int64_t revision) const;
  // Number of keys in the range at `revision`. O(log n) at revisions the index's log reaches (10,000 back),
  // else a walk: use RangeScan for those.
  int64_t count(std::string_view key, std::string_view range_end, int64_t revision) const;

  const Snapshot& parts() const { return parts_; }

 private:
  const Snapshot parts_;
};

// Where the newest view is found by other threads. The lock is held only to copy a pointer.
class ViewCell {
 public:
  // Of the newest view, or of one that was the newest a moment ago. No lock.
  int64_t revision() const { return revision_.load(std::memory_order_acquire); }
  std::shared_ptr<const ReadView> load() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return view_;
  }
  void store(std::shared_ptr<const ReadView> view) {
    std::unique_lock<std::mutex> lock(mutex_);
    view_.swap(view);
    revision_.store(view_->revision(), std::memory_order_release);
    lock.unlock();  // the old view is dropped outside the lock
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const ReadView> view_;
  std::atomic<int64_t> revision_{0};
};

}  // namespace quoin::mvcc
