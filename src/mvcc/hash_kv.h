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
class KvHasher {
 public:
  // C = compact_revision, rev = upto in the sheet's words. `index` must outlive the hasher and still know
  // what lived at `upto`. Walks the index up to the first key that did.
  KvHasher(const IndexView& index, int64_t compact_revision, int64_t upto);
  Result<> add(std::string_view revision_key, Revision revision, bool tombstone, std::string_view value);
  uint32_t hash() const { return hash_; }
  // Of no record at all. Costs nothing, where a hasher may have to walk the index.
  static uint32_t of_nothing();

 private:
  const IndexView& index_;
  const int64_t compact_revision_;
  const int64_t upto_;
  const bool keep_is_empty_;
  uint32_t hash_;
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
