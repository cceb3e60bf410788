// Start-up: the index from bucket `key`, the compaction marks from `meta`.
#include <absl/container/flat_hash_map.h>

#include <algorithm>

#include "mvcc/compaction.h"
#include "mvcc/key_index.h"
#include "mvcc/key_value.h"
#include "mvcc/store_probe.h"

namespace quoin::mvcc {

namespace {

// How many creations and deletions are remembered while reading, so that counts of the newest past need no
// walk.
constexpr size_t kRestoredChangesMax = 1u << 17;

Result<int64_t> read_mark(const backend::Backend& backend, std::string_view name) {
  const std::optional<std::string> bytes = backend.get(backend::Bucket::kMeta, name);
  if (!bytes) return int64_t{-1};
  ASSIGN_OR_RETURN(const backend::ParsedRevisionKey mark, backend::parse_revision_key(*bytes));
  return mark.revision.main;
}

class Restorer {
 public:
  explicit Restorer(KeyIndex& index) : index_(index) { index_.log_changes(false, 0); }

  Result<> add(Revision revision, bool tombstone, std::string_view value) {
    last_ = revision;
    ASSIGN_OR_RETURN(const KeyValueRef kv, decode_key_value(value));
    const KeyEntry* entry = index_.locate(kv.key);
    const bool lives = entry && entry->live();
    const bool had_lease = lives && entry->newest()->has_lease();
    if (tombstone) {
      if (!lives) {
        // Its puts are compacted away. A compaction must still find it: at the compacted revision it stays.
        index_.put_located(kv.key, RevisionNode::tombstone(revision));
        return {};
      }
      index_.tombstone_located(revision);
      changed(entry, -1);
    } else {
      index_.put_located(
          kv.key, RevisionNode::put(revision, kv.create_revision, kv.version, static_cast<bool>(kv.lease)));
      if (!entry) entry = index_.last_created();
      if (!lives) changed(entry, +1);
    }
    if (!tombstone && kv.lease) {
      leases_[entry] = kv.lease;
    } else if (had_lease) {
      leases_.erase(entry);
    }
    return {};
  }

  Revision last() const { return last_; }

  void finish(int64_t revision, LeaseAttachments& attachments) {
    const int64_t floor = std::max(floor_, revision - kLogRevisions);
    index_.log_changes(true, floor);
    for (const Changed& c : changes_) {
      if (c.main > floor) index_.log_restored(c.main, c.entry->key(), c.delta);
    }
    std::vector<std::pair<std::string_view, LeaseId>> sorted;
    sorted.reserve(leases_.size());
    for (const auto& [entry, lease] : leases_) sorted.emplace_back(entry->key(), lease);
    std::sort(sorted.begin(), sorted.end());
    for (const auto& [key, lease] : sorted) attachments.attach(lease, key);
  }

 private:
  struct Changed {
    int64_t main;
    const KeyEntry* entry;
    int delta;
  };
  void changed(const KeyEntry* entry, int delta) {
    if (changes_.size() == kRestoredChangesMax) {
      const auto half = changes_.begin() + kRestoredChangesMax / 2;
      floor_ = (half - 1)->main;
      changes_.erase(changes_.begin(), half);
    }
    changes_.push_back({last_.main, entry, delta});
  }

  KeyIndex& index_;
  Revision last_{1, 0};
  int64_t floor_ = 0;  // changes at revisions > floor_ are all in changes_
  std::vector<Changed> changes_;
  absl::flat_hash_map<const KeyEntry*, LeaseId> leases_;
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
  auto visit = [&](Revision revision, bool tombstone, std::string_view value) {
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
  publish();
  if (scheduled > finished) {
    compaction_->waiting = Compaction::Job{scheduled, finished, false, {}};
    compaction_->waiting_durable = true;
    start_compaction();
  }
  return {};
}

Result<> Store::replace(backend::Backend& backend) {
  CHECK(!txn_open_, "replacing within a transaction");
  const std::unique_ptr<Compaction> old = std::exchange(compaction_, std::make_unique<Compaction>());
  backend_ = &backend;
  index_ = std::make_unique<KeyIndex>();
  published_.reset();
  records_.reset();
  changes_.clear();
  TRY(load());
  // Whoever waited for the old store's compactions waits no longer: what it holds now is another member's.
  run_all(&old->scheduled);
  if (old->running) run_all(&old->running->finished);
  if (old->waiting) run_all(&old->waiting->finished);
  return {};
}

}  // namespace quoin::mvcc
