#include "mvcc/hash_kv.h"

#include "backend/backend.h"
#include "base/crc32c.h"
#include "mvcc/index_view.h"
#include "mvcc/key_value.h"

namespace quoin::mvcc {

KvHasher::KvHasher(const IndexView& index, int64_t compact_revision, int64_t upto)
    : index_(index),
      compact_revision_(compact_revision),
      upto_(upto),
      hash_(of_nothing()),
      hash_of_all_(hash_) {}

uint32_t KvHasher::of_nothing() {
  return crc32c(0, backend::bucket_name(backend::Bucket::kKey));
}

Result<> KvHasher::add(std::string_view revision_key, Revision revision, bool tombstone,
                       std::string_view value) {
  if (revision.main > upto_) return {};
  if (revision.main == compact_revision_ && tombstone) return {};
  const RevisionNode* kept = nullptr;
  const bool below = revision.main <= compact_revision_;
  if (below || !some_live_) {
    ASSIGN_OR_RETURN(const std::string_view key, decode_key(value));
    kept = index_.ref().find_live(key, upto_);
    some_live_ = some_live_ || kept;
  }
  if (!some_live_) hash_of_all_ = crc32c(crc32c(hash_of_all_, revision_key), value);
  if (!below || (kept && kept->revision() == revision)) hash_ = crc32c(crc32c(hash_, revision_key), value);
  return {};
}

Result<HashKvRun> HashKvRun::start(std::shared_ptr<const ReadView> view, int64_t revision) {
  HashKvRun run;
  for (const CompactionHash& h : *view->parts().hashes) {
    if (h.revision != revision) continue;
    run.result_ = {h.hash, h.compact_revision, h.revision};
    return run;
  }
  const int64_t compacted = view->compact_revision();
  if (revision > 0 && revision < compacted) return Code::kCompacted;
  if (revision > view->revision()) return Code::kFutureRev;
  const int64_t upto = revision == 0 ? view->revision() : revision;
  run.hasher_ = std::make_unique<KvHasher>(*view->parts().index, compacted, upto);
  run.result_ = {run.hasher_->hash(), compacted, upto};
  run.view_ = std::move(view);
  return run;
}

Result<bool> HashKvRun::step(size_t records_max) {
  if (!hasher_ || result_.hash_revision < 0) return true;
  size_t left = records_max;
  bool stopped = false;
  Result<> failed;
  const Revision end{result_.hash_revision + 1, 0};
  auto visit = [&](Revision revision, bool tombstone, std::string_view value) {
    if (left == 0) {
      next_ = revision;
      stopped = true;
      return false;
    }
    --left;
    failed = hasher_->add(backend::RevisionKey(revision, tombstone).view(), revision, tombstone, value);
    return failed.has_value();
  };
  TRY(view_->parts().records->scan_records(next_, end, visit));
  TRY(std::move(failed));
  result_.hash = hasher_->hash();
  if (stopped) return false;
  hasher_.reset();
  view_.reset();
  return true;
}

}  // namespace quoin::mvcc
