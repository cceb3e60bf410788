#include <algorithm>

#include "mvcc/compaction.h"
#include "mvcc/key_index.h"
#include "mvcc/key_value.h"

namespace quoin::mvcc {

KeepRule::KeepRule(std::shared_ptr<const IndexView> index, int64_t revision,
                   int64_t previous_compact_revision)
    : index_(std::move(index)), revision_(revision), previous_compact_revision_(previous_compact_revision) {}

void KeepRule::start() {
  if (!hasher_) hasher_ = std::make_unique<KvHasher>(*index_, previous_compact_revision_, revision_);
}

bool KeepRule::keep(std::string_view revision_key, Revision revision, bool tombstone,
                    std::string_view value) {
  start();
  if (!hasher_->add(revision_key, revision, tombstone, value)) unreadable_ = true;
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
  return hasher_ ? hasher_->hash() : KvHasher(*index_, previous_compact_revision_, revision_).hash();
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
  Compaction::Job job{revision, compact_revision_, compaction_->idle(), {}};
  // A job that has not begun is covered by the new one.
  if (compaction_->waiting) job.finished = std::move(compaction_->waiting->finished);
  job.finished.push_back(std::move(finished));
  compact_revision_ = revision;
  backend_->put(backend::Bucket::kMeta, "scheduledCompactRev", backend::RevisionKey({revision, 0}).view());
  compaction_->waiting = std::move(job);
  compaction_->waiting_durable = false;
  compaction_->scheduled.push_back(std::move(scheduled));
  backend_->commit([this, revision, alive = std::weak_ptr<int>(backend_alive_)] {
    if (alive.expired()) return;
    // Commits end in order, so of several marks the newest is the last to be told of.
    if (revision == compact_revision_) {
      compaction_->waiting_durable = true;
      run_all(&compaction_->scheduled);
    }
    start_compaction();
  });
  return {};
}

void Store::start_compaction() {
  if (compaction_->running || !compaction_->waiting || !compaction_->waiting_durable) return;
  compaction_->running = std::exchange(compaction_->waiting, std::nullopt);
  const Compaction::Job& job = *compaction_->running;
  publish();  // an index version from after the compaction was scheduled
  compaction_->rule =
      std::make_shared<KeepRule>(published_->parts().index, job.revision, job.previous_compact_revision);
  backend_->compact(job.revision, compaction_->rule, [this, alive = std::weak_ptr<int>(backend_alive_)] {
    if (!alive.expired()) compaction_finished();
  });
}

void Store::compaction_finished() {
  Compaction::Job job = std::move(*compaction_->running);
  compaction_->running.reset();
  const std::shared_ptr<KeepRule> rule = std::exchange(compaction_->rule, nullptr);
  if (job.hash_counts) {
    if (const auto hash = rule->hash()) {
      auto hashes = std::make_shared<std::vector<CompactionHash>>(*hashes_);
      hashes->push_back({job.revision, job.previous_compact_revision, *hash});
      if (hashes->size() > options_.compaction_hashes_max) hashes->erase(hashes->begin());
      hashes_ = std::move(hashes);
    }
  }
  publish();
  start_compaction();
  run_all(&job.finished);
}

void Store::when_compactions_finished(std::function<void()> idle) {
  if (compaction_->waiting) {
    compaction_->waiting->finished.push_back(std::move(idle));
  } else if (compaction_->running) {
    compaction_->running->finished.push_back(std::move(idle));
  } else {
    idle();
  }
}

// One step of index compaction; true if another can be made now.
bool Store::compact_index(size_t budget) {
  Compaction& c = *compaction_;
  if (c.index_revision <= c.index_done) {
    if (compact_revision_ <= c.index_done) return false;
    // Views from before the compaction may read below it. They end in time; this is asked again on every
    // tick.
    if (index_->older_view_open(compact_revision_)) return false;
    c.index_revision = compact_revision_;
    c.index_from.clear();
  }
  if (!index_->compact_step(c.index_revision, budget, &c.index_from)) return true;
  c.index_done = c.index_revision;
  return compact_revision_ > c.index_done;
}

}  // namespace quoin::mvcc
