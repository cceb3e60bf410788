// The last creations and deletions of keys, by revision: with them the number of live keys in a range at an
// older revision follows from the number at head.
//
// The log is a chain of blocks. A full block is sealed: its changes are sorted by key with running sums, so
// that a range costs two searches; only the block that a revision falls into and the newest one are read
// change by change. The keys are copied into the block, so it depends on no entry's life. Bounds:
// kLogRevisions revisions back from the newest and kLogBytesMax bytes; what is dropped raises floor().
//
// Threads: apply appends. A LogRef taken by apply and published with a view may be read on any thread: blocks
// only grow, beyond what the LogRef covers; dropped blocks go through the Reclaimer.
#pragma once
#include <cstdint>
#include <string_view>

#include "mvcc/reclaimer.h"

namespace quoin::mvcc {

constexpr int64_t kLogRevisions = 10'000;
constexpr size_t kLogBytesMax = 16u << 20;
constexpr int kLogBlockChanges = 256;
constexpr size_t kLogBlockKeyBytes = 12u << 10;

struct KeyRange;

struct LogBlock {
  uint64_t birth;
  LogBlock* older;
  LogBlock* newer;  // apply strand
  size_t key_capacity;
  size_t key_bytes;  // apply strand
  int size;          // apply strand; readers of older blocks: sealed_size
  int sealed_size;
  int64_t revisions[kLogBlockChanges];  // ascending
  const char* keys[kLogBlockChanges];
  uint32_t key_sizes[kLogBlockChanges];
  int8_t deltas[kLogBlockChanges];
  // Set by seal(): order by key, and sums[i] = sum of the first i deltas in that order.
  uint16_t by_key[kLogBlockChanges];
  int16_t sums[kLogBlockChanges + 1];

  static LogBlock* create(uint64_t birth, LogBlock* older, size_t key_capacity);
  static void destroy(LogBlock* block) { ::operator delete(block); }
  size_t bytes() const { return sizeof(LogBlock) + key_capacity; }
  char* key_space() { return reinterpret_cast<char*>(this + 1); }
  std::string_view key(int i) const { return {keys[i], key_sizes[i]}; }
  void seal();
};

// The log as of one moment.
struct LogRef {
  const LogBlock* newest = nullptr;
  int newest_size = 0;
  const LogBlock* oldest = nullptr;
  int64_t floor = 0;  // changes at revisions > floor are all here

  bool reaches(int64_t revision) const { return revision >= floor; }
  // Sum of the deltas of keys in `range` at revisions > `revision`; reaches(revision) must hold.
  int64_t delta_after(int64_t revision, const KeyRange& range) const;
};

class ChangeLog {
 public:
  explicit ChangeLog(Reclaimer& reclaimer) : reclaimer_(reclaimer) {}
  ~ChangeLog();
  ChangeLog(const ChangeLog&) = delete;
  ChangeLog& operator=(const ChangeLog&) = delete;

  // delta +1: created, -1: deleted. Revisions never step back. `version` is the index's working version.
  void append(int64_t revision, std::string_view key, int delta, uint64_t version);
  // Drops what no read at a revision >= `oldest_needed` needs, and what is beyond kLogBytesMax. True if it
  // did.
  bool trim(int64_t oldest_needed);
  // Nothing at or below `revision` is known.
  void set_floor(int64_t revision) { floor_ = revision; }
  LogRef ref() const { return {newest_, newest_ ? newest_->size : 0, oldest_, floor_}; }
  size_t bytes() const { return bytes_; }

 private:
  void drop_oldest();
  Reclaimer& reclaimer_;
  LogBlock* newest_ = nullptr;
  LogBlock* oldest_ = nullptr;
  size_t bytes_ = 0;
  int64_t floor_ = 0;
};

}  // namespace quoin::mvcc
