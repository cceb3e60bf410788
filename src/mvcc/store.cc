// The store's state: transactions' frame, publication, maintenance. Writing is in write_txn.cc, start-up in
// restore.cc, compaction in store_compaction.cc.
#include "mvcc/store.h"

#include <utility>

#include "failpoint/failpoint.h"
#include "mvcc/compaction.h"
#include "mvcc/key_index.h"
#include "mvcc/store_probe.h"

namespace quoin::mvcc {

namespace {
constexpr size_t kFreedPerPublish = 256;

// The records of a store that was closed.
class ClosedRecords final : public backend::View {
 public:
  Result<std::string_view> record(Revision, Hint*) const override { return Code::kServerStopped; }
  Result<> scan_records(Revision, Revision, const backend::RecordVisitor&) const override {
    return Code::kServerStopped;
  }
};
}  // namespace

Store::Store(backend::Backend& backend, LeaseAttachments& leases, metrics::Registry& metrics,
             const StoreOptions& options)
    : backend_(&backend),
      leases_(leases),
      options_(options),
      probe_(std::make_unique<StoreProbe>(metrics)),
      index_(std::make_unique<KeyIndex>()),
      compaction_(std::make_unique<Compaction>()) {}

Store::~Store() = default;

std::optional<KeyMeta> Store::find_current(std::string_view key) const {
  const KeyEntry* entry = index_->ref().find(key);
  if (!entry || !entry->live()) return std::nullopt;
  return entry->newest()->meta();
}

Result<std::string_view> Store::record_current(const KeyMeta& meta,
                                               std::shared_ptr<const backend::View>* hold) {
  *hold = records_upto(meta.revision);
  return (*hold)->record(meta.revision);
}

void Store::for_each_current(std::string_view key, std::string_view range_end,
                             const std::function<bool(std::string_view key, const KeyMeta&)>& visit) const {
  const KeyRange range{key, range_end};
  const IndexRef index = index_->ref();
  if (range.single()) {
    const KeyEntry* entry = index.find(key);
    if (entry && entry->live()) visit(entry->key(), entry->newest()->meta());
    return;
  }
  for (IndexCursor c(index, key, true); c.valid() && c.before_end(range); c.next()) {
    if (c.entry().live() && !visit(c.entry().key(), c.entry().newest()->meta())) return;
  }
}

int64_t Store::count_current(std::string_view key, std::string_view range_end) const {
  const KeyRange range{key, range_end};
  if (range.single()) return find_current(key).has_value() ? 1 : 0;
  return range.empty() ? 0 : index_->ref().count(range, revision_, revision_);
}

WriteTxn& Store::begin() {
  CHECK(!txn_open_, "a transaction is open");
  txn_open_ = true;
  txn_.next_sub_ = 0;
  txn_.counts_ = {};
  return txn_;
}

void Store::count_ranges(size_t ranges) {
  probe_->ranges.inc(ranges);
  if (ranges > 1) probe_->txns.inc();
}

int64_t Store::end() {
  CHECK(txn_open_, "no transaction is open");
  txn_open_ = false;
  if (txn_.changed()) ++revision_;
  txn_.pinned_.clear();
  const WriteTxn::Counts& n = txn_.counts_;
  if (n.puts) probe_->puts.inc(n.puts);
  if (n.deletes) probe_->deletes.inc(n.deletes);
  if (n.ranges) probe_->ranges.inc(n.ranges);
  if (n.puts + n.deletes + n.ranges > 1) probe_->txns.inc();
  if (n.put_bytes) probe_->put_bytes.add(static_cast<double>(n.put_bytes));
  return revision_;
}

const std::shared_ptr<const backend::View>& Store::records_upto(Revision revision) {
  if (!records_ || revision > records_upto_) {
    if (records_ && txn_open_) txn_.pinned_.push_back(records_);
    records_ = backend_->view();
    records_upto_ = appended_upto_;
  }
  return records_;
}

Snapshot Store::snapshot_now() {
  return {txn_open_ ? txn_.revision() : revision_, compact_revision_, index_->working_view(),
          records_upto(appended_upto_), hashes_};
}

std::shared_ptr<const ReadView> Store::publish() {
  if (txn_open_) {
    CHECK(!has_unpublished(), "publishing within a transaction");
    return published_;
  }
  // Also without changes the backend may have a newer view, which holds less than the last one.
  records_ = backend_->view();
  records_upto_ = appended_upto_;
  if (published_) {
    const Snapshot& last = published_->parts();
    if (last.revision == revision_ && last.compact_revision == compact_revision_ &&
        last.records == records_ && last.hashes == hashes_) {
      return published_;
    }
  }
  published_ = std::make_shared<const ReadView>(Snapshot{
      revision_, compact_revision_, index_->publish(revision_, compact_revision_), records_, hashes_});
  // Readers see a whole batch at once, not each transaction as in etcd.
  FAILPOINT(beforeWritebackBuf);
  views_.store(published_);
  FAILPOINT(afterWritebackBuf);
  // Most of what a batch replaced can go at once, when nobody reads the version before it. However much that
  // is, as much goes: else what waits would grow for as long as the load lasts.
  index_->collect_for_changes(kFreedPerPublish);
  probe_->keys.set(static_cast<double>(index_->live_keys()));
  probe_->current_revision.set(static_cast<double>(revision_));
  probe_->compact_revision.set(static_cast<double>(compact_revision_));
  return published_;
}

void Store::close() {
  backend_alive_.reset();
  backend_ = nullptr;
  compaction_ = std::make_unique<Compaction>();
  txn_.pinned_.clear();
  changes_.clear();
  Snapshot parts = published_->parts();
  parts.records = std::make_shared<const ClosedRecords>();
  records_.reset();
  published_ = std::make_shared<const ReadView>(std::move(parts));
  views_.store(published_);
}

bool Store::has_unpublished() const {
  return !published_ || published_->revision() != revision_ ||
         published_->compact_revision() != compact_revision_;
}

void Store::take_changes(std::deque<Change>* out) {
  CHECK(out->empty(), "changes that were taken before are still there");
  out->swap(changes_);
}

bool Store::maintain(size_t budget) {
  if (txn_open_) return false;
  publish();
  const bool more_to_free = index_->collect(budget);
  const bool more_to_compact = compact_index(budget);
  return more_to_free || more_to_compact;
}

}  // namespace quoin::mvcc
