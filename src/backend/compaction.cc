// Compaction and Hash: scans of the newest snapshot in bounded steps.
#include <algorithm>
#include <utility>

#include "backend/file_jobs.h"
#include "backend/file_side.h"
#include "base/check.h"
#include "base/coding.h"
#include "base/crc32c.h"
#include "failpoint/failpoint.h"

namespace quoin::backend {
namespace {
constexpr uint64_t kHashStepPairs = 10'000;
constexpr uint64_t kHashStepBytes = 4u << 20;

double milliseconds(int64_t ns) {
  return static_cast<double>(ns) / 1e6;
}

// The smallest key above `key`.
std::string after(std::string_view key) {
  std::string next(key);
  next.push_back('\0');
  return next;
}

// Spec storage-formats 2.5, as 3.6 does it.
bool excluded_from_hash(Bucket bucket, std::string_view key) {
  return bucket == Bucket::kMeta && (key == "term" || key == "consistent_index" || key == "storageVersion");
}
}  // namespace

void FileSide::compact(int64_t revision, std::shared_ptr<Compactor> compactor, std::function<void()> done) {
  if (dead_ || close_done_) return;
  CHECK(!compaction_);
  compaction_ = std::make_unique<Compaction>();
  compaction_->revision = revision;
  compaction_->compactor = std::move(compactor);
  compaction_->done = std::move(done);
  compaction_->next = RevisionKey({0, 0}).view();
  compaction_->started = env_.clock->monotonic();
  run();
}

// Scans one batch and puts its deletes into the commit. A batch that is not full is the last.
Result<> FileSide::compaction_step(BatchBuilder& builder) {
  Compaction& c = *compaction_;
  c.step_started = env_.clock->monotonic();
  c.due = false;
  c.in_commit = true;
  c.step_deletes = 0;
  uint64_t scanned = 0;
  Result<> damage;
  const RevisionKey end({c.revision + 1, 0});
  std::string next;
  TRY(newest_->scan(Bucket::kKey, c.next, end.view(), [&](std::string_view key, std::string_view value) {
    auto parsed = parse_revision_key(key);
    if (!parsed) {
      damage = parsed.error();
      return false;
    }
    if (!c.compactor->keep(key, parsed->revision, parsed->tombstone, value)) {
      builder.erase_record(key);
      ++c.step_deletes;
    }
    if (++scanned < env_.options.compaction_batch_limit) return true;
    next = after(key);
    return false;
  }));
  TRY(damage);
  c.last = scanned < env_.options.compaction_batch_limit;
  c.next = std::move(next);
  // The mark travels in the commit of the last batch. etcd passes the second of each pair before that is durable.
  FAILPOINT_IF(c.last, compactBeforeSetFinishedCompact);
  FAILPOINT_IF(!c.last, compactBeforeCommitBatch);
  if (c.last) builder.put_meta("finishedCompactRev", RevisionKey({c.revision, 0}).view());
  return {};
}

void FileSide::after_compaction_step() {
  Compaction& c = *compaction_;
  c.in_commit = false;
  const io::MonotonicNs now = env_.clock->monotonic();
  env_.probe->compaction_pause_ms.observe(milliseconds(now - c.step_started));
  env_.probe->compaction_keys.inc(c.step_deletes);
  FAILPOINT_IF(!c.last, compactAfterCommitBatch);
  if (c.last) {
    FAILPOINT(compactAfterSetFinishedCompact);
    env_.probe->compaction_total_ms.observe(milliseconds(now - c.started));
    env_.probe->compaction_last.set(static_cast<double>(env_.clock->wall() / io::kSecond));
    auto done = std::move(c.done);
    compaction_.reset();
    env_.to_apply([done = std::move(done)] { done(); });
    return;
  }
  c.timer = env_.timers->schedule(env_.options.compaction_sleep_ns, *env_.file, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self || !self->compaction_) return;
    self->compaction_->due = true;
    self->run();
  });
}

void FileSide::hash(std::function<void(Result<StateHash>)> done) {
  if (dead_ || close_done_) {
    env_.to_apply([done = std::move(done), error = dead_.value_or(Error(Code::kStopped))] { done(error); });
    return;
  }
  auto job = std::make_unique<Hash>();
  job->done = std::move(done);
  job->snapshot = newest_;
  job->started = env_.clock->monotonic();
  hashes_.push_back(std::move(job));
  run();
}

void FileSide::hash_step() {
  Hash& h = *hashes_.front();
  uint64_t pairs = 0;
  uint64_t bytes = 0;
  while (h.bucket < kBucketCount && pairs < kHashStepPairs && bytes < kHashStepBytes) {
    const Bucket bucket = static_cast<Bucket>(h.bucket);
    if (h.next.empty()) h.crc = crc32c(h.crc, bucket_name(bucket));
    bool more = false;
    std::string next;
    auto r = h.snapshot->scan(bucket, h.next, {}, [&](std::string_view key, std::string_view value) {
      if (!excluded_from_hash(bucket, key)) h.crc = crc32c(crc32c(h.crc, key), value);
      bytes += key.size() + value.size();
      if (bucket == Bucket::kKey && key.size() >= 8)
        h.newest_main = static_cast<int64_t>(load_be64(key.data()));
      if (++pairs < kHashStepPairs && bytes < kHashStepBytes) return true;
      more = true;
      next = after(key);
      return false;
    });
    if (!r) {
      env_.to_apply([done = std::move(h.done), error = r.error()] { done(error); });
      hashes_.pop_front();
      return;
    }
    if (!more) ++h.bucket;
    h.next = std::move(next);
  }
  if (h.bucket < kBucketCount) return;
  env_.probe->hash_seconds.observe(static_cast<double>(env_.clock->monotonic() - h.started) / 1e9);
  env_.to_apply([done = std::move(h.done), hash = StateHash{h.crc, h.newest_main}] { done(hash); });
  hashes_.pop_front();
}

}  // namespace quoin::backend
