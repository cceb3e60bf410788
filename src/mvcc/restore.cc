// Start-up: the index from bucket `key`, the compaction marks from `meta`.
#include <absl/container/flat_hash_map.h>

#include <algorithm>

#include "mvcc/compaction.h"
#include "mvcc/key_index.h"
#include "mvcc/key_value.h"
#include "mvcc/sort_keys.h"
#include "mvcc/store_probe.h"

namespace quoin::mvcc {

namespace {

// Beyond it the next revisions could not be numbered.
constexpr int64_t kRevisionMax = INT64_MAX / 2;
constexpr uint64_t kRecordsPerCall = 1 << 16;  // of StoreOptions::reading

Result<int64_t> read_mark(const backend::Backend& backend, std::string_view name) {
  const std::optional<std::string> bytes = backend.get(backend::Bucket::kMeta, name);
  if (!bytes) return int64_t{-1};
  const auto mark = backend::parse_revision_key(*bytes);
  if (!mark) return make_error(Code::kCorruption, "bucket meta, {}: {}", name, mark.error().text());
  if (mark->revision.main > kRevisionMax) {
    return make_error(Code::kCorruption, "bucket meta, {}: revision {}", name, mark->revision.main);
  }
  return mark->revision.main;
}

// Reads all records first and builds the index from the sorted keys: inserting a million keys in the order of
// their revisions costs a walk through cold memory for each, and leaves neighbours of the index far apart.
//
// Lifetime: keys are views into the records, so the backend view must stay until finish().
class Restorer {
 public:
  explicit Restorer(KeyIndex& index) : index_(index) {}

  Result<> add(Revision revision, bool tombstone, std::string_view value) {
    ASSIGN_OR_RETURN(const KeyValueRef kv, decode_key_value(value));
    if (revision.sub > int64_t{UINT32_MAX} || revision.main > kRevisionMax) {
      return Error(Code::kCorruption, "no revision of a store");
    }
    if (records_.size() > size_t{UINT32_MAX}) return Error(Code::kCorruption, "too many records");
    // `snapshot restore --bump-revision` raises the newest revision by a record without any bytes: the empty key, which
    // no client can name. etcd takes it for a key that lives, so compactions keep it and hashes count it.
    const bool raises = !tombstone && value.empty();
    // Version 0 is how the index tells a tombstone.
    if (!tombstone && !raises && (kv.version < 1 || kv.version > RevisionNode::kVersionMax)) {
      return make_error(Code::kCorruption, "version {}", kv.version);
    }
    const auto node =
        tombstone ? RevisionNode::tombstone(revision)
        : raises  ? RevisionNode::put(revision, revision.main, 1, false)
                  : RevisionNode::put(revision, kv.create_revision, kv.version, static_cast<bool>(kv.lease));
    if (node.has_lease()) leases_.emplace(static_cast<uint32_t>(records_.size()), kv.lease);
    records_.push_back({kv.key.data(), node});
    records_.back().node.size_or_depth = static_cast<uint32_t>(kv.key.size());
    last_ = revision;
    return {};
  }

  Revision last() const { return last_; }

  void finish(int64_t revision, LeaseAttachments& attachments) {
    std::vector<SortItem> order(records_.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i].number = i;
    sort_keys(order.data(), order.data() + order.size(), 0, [this](uint32_t i) { return key(i); });
    const int64_t floor = revision - kLogRevisions;
    std::vector<KeyEntry*> entries;
    for (size_t i = 0; i < order.size();) {
      const std::string_view k = key(order[i].number);
      KeyEntry* entry = KeyEntry::create(index_.pool(), k, records_[order[i].number].node);
      note(order[i].number, floor, false);
      uint32_t newest = order[i].number;
      for (++i; i < order.size() && key(order[i].number) == k; ++i) {
        newest = order[i].number;
        note(newest, floor, entry->live());
        entry->push(index_.pool(), records_[newest].node);
      }
      entries.push_back(entry);
      if (entry->newest()->has_lease()) attachments.attach(leases_.at(newest), k);
    }
    index_.build(entries);
    index_.log_floor(floor);
    std::sort(changes_.begin(), changes_.end());
    for (const auto& [number, delta] : changes_) {
      index_.log_restored(records_[number].node.main, key(number), delta);
    }
  }

 private:
  struct Record {
    const char* key;
    RevisionNode node;  // with the size of its key
  };
  std::string_view key(uint32_t i) const { return {records_[i].key, records_[i].node.size_or_depth}; }
  // Remembers a creation or deletion that the log of changes still reaches.
  void note(uint32_t number, int64_t floor, bool lived) {
    const RevisionNode& node = records_[number].node;
    if (node.main > floor && node.is_tombstone() == lived) changes_.emplace_back(number, lived ? -1 : +1);
  }

  KeyIndex& index_;
  Revision last_{1, 0};
  std::vector<Record> records_;  // in revision order
  absl::flat_hash_map<uint32_t, LeaseId> leases_;
  std::vector<std::pair<uint32_t, int>> changes_;  // record and delta
};

}  // namespace

Result<std::unique_ptr<Store>> Store::restore(backend::Backend& backend, LeaseAttachments& leases,
                                              metrics::Registry& metrics, const StoreOptions& options) {
  std::unique_ptr<Store> store(new Store(backend, leases, metrics, options));
  TRY(store->load());
  return store;
}

Result<> Store::load() {
  backend_alive_ = std::make_shared<int>(0);
  hashes_ = std::make_shared<const std::vector<CompactionHash>>();
  ASSIGN_OR_RETURN(const int64_t finished, read_mark(*backend_, "finishedCompactRev"));
  ASSIGN_OR_RETURN(const int64_t scheduled, read_mark(*backend_, "scheduledCompactRev"));

  Restorer restorer(*index_);
  records_ = backend_->view();
  Result<> failed;
  uint64_t records = 0;
  auto visit = [&](Revision revision, bool tombstone, std::string_view value) {
    if (++records % kRecordsPerCall == 0 && options_.reading) options_.reading(revision.main);
    auto r = restorer.add(revision, tombstone, value);
    if (!r) {
      failed = make_error(Code::kCorruption, "bucket key, revision {}_{}: {}", revision.main, revision.sub,
                          r.error().text());
    }
    return r.has_value();
  };
  TRY(records_->scan_records({1, 0}, {INT64_MAX, 0}, visit));
  TRY(std::move(failed));

  records_upto_ = appended_upto_ = restorer.last();
  revision_ = std::max({restorer.last().main, finished, scheduled, int64_t{1}});
  compact_revision_ = std::max(finished, scheduled);
  restorer.finish(revision_, leases_);
  if (options_.memory) index_->pool().set_reserve(std::make_shared<ChunkReserve>(*options_.memory));
  publish();
  restored_marks_ = {finished, scheduled};
  if (!options_.beside) resume_compaction();
  return {};
}

void Store::resume_compaction() {
  if (!restored_marks_.resumed()) return;
  Compaction::Job job;
  job.revision = restored_marks_.scheduled;
  job.previous_compact_revision = restored_marks_.finished;
  job.durable = true;
  compaction_->jobs.push_back(std::move(job));
  start_compaction();
}

std::unique_ptr<Store> Store::adopt(std::unique_ptr<Store> fresh) {
  CHECK(!txn_open_ && !fresh->txn_open_, "replacing within a transaction");
  backend_alive_ = std::make_shared<int>(0);
  txn_.pinned_.clear();
  std::swap(backend_, fresh->backend_);
  std::swap(index_, fresh->index_);
  std::swap(revision_, fresh->revision_);
  std::swap(compact_revision_, fresh->compact_revision_);
  std::swap(restored_marks_, fresh->restored_marks_);
  std::swap(records_, fresh->records_);
  std::swap(records_upto_, fresh->records_upto_);
  std::swap(appended_upto_, fresh->appended_upto_);
  std::swap(published_, fresh->published_);
  std::swap(hashes_, fresh->hashes_);
  std::swap(compaction_, fresh->compaction_);
  std::swap(changes_, fresh->changes_);
  views_.store(published_);
  publish();
  resume_compaction();
  // Whoever waited for the old store's compactions waits no longer: what it holds now is another member's.
  for (Compaction::Job& job : fresh->compaction_->jobs) {
    run_all(&job.scheduled);
    run_all(&job.finished);
  }
  return fresh;
}

}  // namespace quoin::mvcc
