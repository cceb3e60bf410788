// Writes that are not in the file yet: key records in revision order and, per other bucket, an ordered map of
// changes. Active while apply fills it; frozen it is one commit.
//
// Threads: apply writes and reads everything. Other threads read records [0, n) where n is a record_count()
// that apply took before it handed them the segment (the hand-over orders the memory). Once frozen, any
// thread reads everything.
//
// Why that needs no lock:
//   1. A record is written once, before any count that covers it is taken, and never moves: chunk k holds
//      kFirstChunk << k records and the table of chunks has a fixed size.
//   2. A chunk's pointer is written before its first record and never changes.
//   3. Hence apply's next append touches only memory that no reader with an older count looks at.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "backend/backend.h"
#include "backend/engine.h"
#include "base/blob.h"
#include "base/ids.h"

namespace quoin::backend {

struct Record {
  Revision revision;
  bool tombstone = false;
  Blob value;
};

class Segment {
 public:
  using Pairs = std::map<std::string, std::optional<std::string>, std::less<>>;  // no value: deleted

  Segment() = default;
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  // ---- apply strand, until frozen ----
  void append(Revision revision, bool tombstone, Blob value);
  void put(Bucket bucket, std::string_view key, std::string_view value);
  void erase(Bucket bucket, std::string_view key);

  // ---- records ----
  uint64_t record_count() const { return count_; }
  const Record& record(uint64_t i) const {
    const auto k = chunk_of(i);
    return chunks_[k][i - first_of(k)];
  }
  // Among records [0, count): the index of the first with a revision not below `revision`; `count` if none.
  uint64_t lower_bound(Revision revision, uint64_t count) const;

  // ---- other buckets ----
  const Pairs& pairs(Bucket bucket) const { return pairs_[static_cast<int>(bucket)]; }

  // Puts, deletes and appended records; their bytes with what the maps cost beside them.
  uint64_t ops() const { return ops_; }
  uint64_t bytes() const { return bytes_; }
  bool empty() const { return ops_ == 0; }

  // ---- once nobody else has it ----
  // Frees at most `records` of the records and pairs that are left. True if there are more.
  bool free_some(uint64_t records);

 private:
  static constexpr uint64_t kFirstChunk = 256;
  static int chunk_of(uint64_t i) { return std::bit_width(i / kFirstChunk + 1) - 1; }
  static uint64_t first_of(int k) { return kFirstChunk * ((uint64_t{1} << k) - 1); }
  void change(Bucket bucket, std::string_view key, std::optional<std::string> value);

  // Memory without records: a record is made when it is appended, so that a chunk of a million costs nothing
  // before.
  std::array<Record*, 48> chunks_{};
  uint64_t count_ = 0;
  std::array<Pairs, kBucketCount> pairs_;
  uint64_t ops_ = 0;
  uint64_t bytes_ = 0;
};

// A segment with what was true when it was frozen: the content of one commit.
struct FrozenSegment {
  std::shared_ptr<const Segment> segment;
  Index index;
  Term term;
};

// A segment's changes, and others merged into them, as a batch for an engine. Keeps the segment and holds the
// bytes that are nowhere else.
class BatchBuilder {
 public:
  // Deletes of bucket `key` come first; they are older than every appended record.
  void erase_record(std::string_view revision_key);
  void put_meta(std::string_view key, std::string_view value);
  void add(const FrozenSegment& frozen);
  const Batch& build();
  // The part of the batch at or before `key` of `bucket` in file order.
  Batch up_to(Bucket bucket, std::string_view key) const;

 private:
  Batch batch_;
  std::shared_ptr<const Segment> segment_;
  std::deque<std::string> erased_;
  std::vector<RevisionKey> keys_;
  std::map<std::string, std::optional<std::string>, std::less<>> meta_;
};

}  // namespace quoin::backend
