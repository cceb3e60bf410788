#include <algorithm>

#include "failpoint/failpoint.h"
#include "mvcc/compaction.h"
#include "mvcc/key_index.h"
#include "mvcc/key_value.h"
#include "mvcc/store_probe.h"

namespace quoin::mvcc {

KeepRule::KeepRule(std::shared_ptr<const IndexView> index, int64_t revision,
                   int64_t previous_compact_revision)
    : index_(std::move(index)), revision_(revision), hasher_(*index_, previous_compact_revision, revision) {}

bool KeepRule::keep(std::string_view revision_key, Revision revision, bool tombstone,
                    std::string_view value) {
  if (!hasher_.add(revision_key, revision, tombstone, value)) unreadable_ = true;
  if (revision.main > revision_) return true;
  const Result<std::string_view> key = decode_key(value);
  if (!key) {
    unreadable_ = true;
    return true;
  }
  const KeyEntry* entry = index_->ref().find(*key);
  const RevisionNode* newest = entry ? entry->at(revision_) : nullptr;
  if (!newest || newest->revision() != revision) return false;
  return !tombstone || revision.main == revision_;
}

std::optional<uint32_t> KeepRule::hash() const {
  if (unreadable_) return std::nullopt;
  return hasher_.hash();
}

void run_all(Callbacks* callbacks) {
  for (auto& callback : std::exchange(*callbacks, {})) {
    if (callback) callback();
  }
}

Result<> Store::compact(int64_t revision, std::function<void()> scheduled, std::function<void()> finished) {
  CHECK(!txn_open_, "compacting within a transaction");
  if (revision <= compact_revision_) return Code::kCompacted;
  if (revision > revision_) return Code::kFutureRev;
  auto& jobs = compaction_->jobs;
  Compaction::Job job;
  job.revision = revision;
  job.previous_compact_revision = compact_revision_;
  job.hash_counts = jobs.empty();
  if (jobs.size() == kCompactionJobsMax) {
    job.scheduled = std::move(jobs.back().scheduled);
    job.finished = std::move(jobs.back().finished);
    jobs.pop_back();
  }
  job.scheduled.push_back(std::move(scheduled));
  job.finished.push_back(std::move(finished));
  jobs.push_back(std::move(job));
  compact_revision_ = revision;
  probe_->ranges.inc();  // etcd reads a key "compaction" for the revision of its answer
  backend_->put(backend::Bucket::kMeta, "scheduledCompactRev", backend::RevisionKey({revision, 0}).view());
  FAILPOINT(compactBeforeCommitScheduledCompact);
  backend_->commit([this, revision, alive = std::weak_ptr<int>(backend_alive_)] {
    if (!alive.expired()) compaction_durable(revision);
  });
  return {};
}

void Store::compaction_durable(int64_t revision) {
  FAILPOINT(compactAfterCommitScheduledCompact);
  Callbacks scheduled;
  for (Compaction::Job& job : compaction_->jobs) {
    if (job.revision != revision) continue;
    job.durable = true;
    scheduled = std::move(job.scheduled);
    job.scheduled.clear();
  }
  start_compaction();
  run_all(&scheduled);
}

void Store::start_compaction() {
  Compaction& c = *compaction_;
  if (c.rule || c.jobs.empty() || !c.jobs.front().durable) return;
  const Compaction::Job& job = c.jobs.front();
  if (options_.compaction_observer) options_.compaction_observer->compaction_started(job.revision);
  publish();  // an index version from after the compaction was scheduled
  c.rule = std::make_shared<KeepRule>(published_->parts().index, job.revision, job.previous_compact_revision);
  backend_->compact(job.revision, c.rule, [this, alive = std::weak_ptr<int>(backend_alive_)] {
    if (!alive.expired()) compaction_finished();
  });
}

void Store::compaction_finished() {
  Compaction::Job job = std::move(compaction_->jobs.front());
  compaction_->jobs.pop_front();
  const std::shared_ptr<KeepRule> rule = std::exchange(compaction_->rule, nullptr);
  const std::optional<uint32_t> hash = rule->hash();
  if (options_.compaction_observer) {
    options_.compaction_observer->compaction_finished({job.revision, job.previous_compact_revision, hash,
                                                       job.hash_counts, backend_->size(),
                                                       backend_->size_in_use()});
  }
  if (hash && job.hash_counts) {
    auto hashes = std::make_shared<std::vector<CompactionHash>>(*hashes_);
    hashes->push_back({job.revision, job.previous_compact_revision, *hash});
    if (hashes->size() > options_.compaction_hashes_max) hashes->erase(hashes->begin());
    hashes_ = std::move(hashes);
  }
  publish();
  start_compaction();
  run_all(&job.finished);
}

void Store::when_compactions_finished(std::function<void()> idle) {
  if (compaction_->jobs.empty()) {
    idle();
  } else {
    compaction_->jobs.back().finished.push_back(std::move(idle));
  }
}

// A job that has not ended still asks the index what lived at its revision.
int64_t Store::index_target() const {
  return compaction_->jobs.empty() ? compact_revision_ : compaction_->jobs.front().revision;
}

int64_t Store::index_compacted() const {
  return compaction_->index_done;
}

bool Store::index_compacting() const {
  return index_target() > compaction_->index_done;
}

// One step of index compaction; true if another can be made now.
bool Store::compact_index(size_t budget) {
  Compaction& c = *compaction_;
  const int64_t target = index_target();
  if (c.index_revision <= c.index_done) {
    if (target <= c.index_done) return false;
    // Views from before the compaction may read below it. They end in time; this is asked again on every
    // tick.
    if (index_->older_view_open(target)) return false;
    c.index_revision = target;
    c.index_from.clear();
  }
  if (!index_->compact_step(c.index_revision, budget, &c.index_from)) return true;
  c.index_done = c.index_revision;
  return target > c.index_done;
}

}  // namespace quoin::mvcc
