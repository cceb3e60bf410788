#include "bolt/compact_copy.h"

#include "base/check.h"
#include "bolt/store.h"

namespace quoin::bolt {

CompactCopy::CompactCopy(std::shared_ptr<const ReadTx> from, Db& to, CopyLimits limits)
    : from_(std::move(from)), to_(to), limits_(limits) {}

// The bucket of the destination that the innermost level is copied into.
Result<Bucket*> CompactCopy::open_target(WriteTx& tx) const {
  Bucket* bucket = &tx.root();
  bucket->set_fill_percent(kFillSequential);
  for (const Level& level : stack_) {
    if (level.name.empty()) continue;
    ASSIGN_OR_RETURN(bucket, bucket->create_bucket(level.name));
    bucket->set_fill_percent(kFillSequential);
  }
  return bucket;
}

Result<std::unique_ptr<WriteTx>> CompactCopy::fill() {
  ASSIGN_OR_RETURN(auto tx, to_.begin_write());
  if (!started_) {
    started_ = true;
    stack_.push_back({std::string(), from_->root(), from_->root().cursor()});
    ASSIGN_OR_RETURN(const bool any, stack_.back().cursor.first());
    static_cast<void>(any);
  }
  ASSIGN_OR_RETURN(Bucket * target, open_target(*tx));
  uint64_t items = 0, bytes = 0;
  while (!stack_.empty() && items < limits_.items_max && bytes < limits_.bytes_max) {
    Level& level = stack_.back();
    if (!level.cursor.valid()) {
      stack_.pop_back();
      ASSIGN_OR_RETURN(target, open_target(*tx));
      continue;
    }
    const std::string_view key = level.cursor.key();
    if (!level.cursor.is_bucket()) {
      TRY(target->put_ref(key, level.cursor.value()));  // the source's pages stay until this copy ends
      bytes += key.size() + level.cursor.value().size();
      ++items;
      TRY(level.cursor.next());
      continue;
    }
    if (stack_.size() > kDepthMax)
      return from_->store().corruption(fmt::format("buckets are nested deeper than {} levels", kDepthMax));
    ASSIGN_OR_RETURN(const auto nested, level.bucket.bucket(key));
    CHECK(nested.has_value());
    TRY(level.cursor.next());  // before `level` may move
    stack_.push_back({std::string(key), *nested, nested->cursor()});
    TRY(stack_.back().cursor.first());
    ASSIGN_OR_RETURN(target, open_target(*tx));
  }
  items_ += items;
  all_filled_ = stack_.empty();
  return tx;
}

void CompactCopy::step(io::Completion done) {
  CHECK(!finished_);
  auto tx = fill();
  if (!tx) return done(std::move(tx).error());
  to_.commit(std::move(*tx), [this, done = std::move(done)](Result<> result) mutable {
    finished_ = result && all_filled_;
    done(std::move(result));
  });
}

Result<> CompactCopy::step_blocking() {
  CHECK(!finished_);
  ASSIGN_OR_RETURN(auto tx, fill());
  TRY(to_.commit_blocking(std::move(tx)));
  finished_ = all_filled_;
  return {};
}

}  // namespace quoin::bolt
