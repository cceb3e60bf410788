// HashKV: CRC-32C over the records that belong to a revision, the same on every member.
//
// Threads: confined to whoever made it; meant to run off the apply strand. It holds its view until dropped.
// Errors: kCompacted, kFutureRev for the revision; kCorruption, kIo from the backend.
// Source: spec storage-formats 7, api-semantics 5.4.
#pragma once
#include <cstdint>
#include <memory>

#include "base/ids.h"
#include "base/result.h"
#include "mvcc/read_view.h"

namespace quoin::mvcc {

struct HashKvResult {
  uint32_t hash = 0;
  int64_t compact_revision = -1;
  int64_t hash_revision = 0;
};

// The rule itself, fed record by record; the compactor feeds it as well while it deletes.
//
// Of the records at or below the compact revision only those count that a key living at `upto` still has, but
// all of them if no key lives then. Which of the two holds is known at the end: a key that lives at `upto`
// has a record among those fed. Until the first such key is met both hashes are computed.
class KvHasher {
 public:
  // C = compact_revision, rev = upto in the spec's words. `index` must outlive the hasher and still know
  // what lived at `upto`.
  KvHasher(const IndexView& index, int64_t compact_revision, int64_t upto);
  Result<> add(std::string_view revision_key, Revision revision, bool tombstone, std::string_view value);
  // Final once every record up to `upto` was fed.
  uint32_t hash() const { return some_live_ ? hash_ : hash_of_all_; }
  // Of no record at all.
  static uint32_t of_nothing();

 private:
  const IndexView& index_;
  const int64_t compact_revision_;
  const int64_t upto_;
  bool some_live_ = false;
  uint32_t hash_;
  uint32_t hash_of_all_;  // meaningless once some_live_
};

class HashKvRun {
 public:
  // `revision` as the client sent it: 0 is the newest; a negative one hashes nothing.
  static Result<HashKvRun> start(std::shared_ptr<const ReadView> view, int64_t revision);
  // Hashes at most `records_max` records; true when result() is final.
  Result<bool> step(size_t records_max);
  HashKvResult result() const { return result_; }

 private:
  HashKvRun() = default;
  std::shared_ptr<const ReadView> view_;
  std::unique_ptr<KvHasher> hasher_;  // null: answered already
  Revision next_;
  HashKvResult result_;
};

}  // namespace quoin::mvcc
