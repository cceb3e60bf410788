#include "mvcc/key_index.h"
#include "mvcc/key_value.h"
#include "mvcc/store.h"
#include "wire/coding.h"

namespace quoin::mvcc {

int64_t WriteTxn::revision() const {
  return store_.revision_ + (changed() ? 1 : 0);
}

Result<std::string_view> WriteTxn::record(const KeyMeta& meta) {
  return store_.records_upto(meta.revision)->record(meta.revision);
}

void WriteTxn::append(Revision revision, bool tombstone, Blob record, size_t key_size) {
  if (store_.collect_changes_) {
    // The key is the record's first field: tag, length, bytes.
    const size_t at = 1 + wire::varint_size(key_size);
    store_.changes_.push_back({revision, tombstone, record, record.view().substr(at, key_size)});
  }
  store_.backend_->append(revision, tombstone, std::move(record));
  store_.appended_upto_ = revision;
}

Result<PutResult> WriteTxn::put(const PutRequest& request) {
  KeyIndex& index = *store_.index_;
  // etcd reads the old value with a range of the same transaction, and counts it.
  if (request.prev_kv || request.ignore_value || request.ignore_lease) ++counts_.ranges;
  const KeyEntry* entry = index.locate(request.key);
  const RevisionNode* old = entry && entry->live() ? entry->newest() : nullptr;
  if (!old && (request.ignore_value || request.ignore_lease)) return Code::kKeyNotFound;
  ++counts_.puts;

  PutResult result;
  KeyValueRef kv{request.key, 0, 0, 1, request.value, request.ignore_lease ? LeaseId(0) : request.lease};
  if (old && (request.prev_kv || request.ignore_value || (request.ignore_lease && old->has_lease()))) {
    ASSIGN_OR_RETURN(const std::string_view bytes, record(old->meta()));
    if (request.prev_kv) result.prev_kv = bytes;
    if (request.ignore_value || request.ignore_lease) {
      ASSIGN_OR_RETURN(const KeyValueRef before, decode_key_value(bytes));
      if (request.ignore_value) kv.value = before.value;
      if (request.ignore_lease) kv.lease = before.lease;
    }
  }

  const Revision revision{store_.revision_ + 1, next_sub_++};
  kv.mod_revision = revision.main;
  kv.create_revision = old ? old->create_revision : revision.main;
  if (old) kv.version = old->version() + 1;
  if ((old && old->has_lease()) || kv.lease) {
    const LeaseId before = old && old->has_lease() ? store_.leases_.lease_of(request.key) : LeaseId(0);
    if (before != kv.lease) {
      if (before) store_.leases_.detach(before, request.key);
      if (kv.lease) store_.leases_.attach(kv.lease, request.key);
    }
  }
  counts_.put_bytes += static_cast<int64_t>(kv.key.size() + kv.value.size());
  append(revision, false, encode_key_value(kv), request.key.size());
  index.put_located(request.key,
                    RevisionNode::put(revision, kv.create_revision, kv.version, static_cast<bool>(kv.lease)));
  result.revision = revision;
  return result;
}

// The key must live and have been located last.
void WriteTxn::erase_located(std::string_view key, bool has_lease) {
  const Revision revision{store_.revision_ + 1, next_sub_++};
  if (has_lease) {
    const LeaseId lease = store_.leases_.lease_of(key);
    if (lease) store_.leases_.detach(lease, key);
  }
  append(revision, true, encode_key_value({.key = key}), key.size());
  store_.index_->tombstone_located(revision);
}

Result<int64_t> WriteTxn::delete_range(std::string_view key, std::string_view range_end,
                                       const KvVisitor& prev) {
  RangeDelete range(*this, std::string(key), std::string(range_end));
  size_t all = SIZE_MAX;
  ASSIGN_OR_RETURN(const bool done, range.step(&all, prev));
  CHECK(done);
  return range.deleted();
}

RangeDelete::RangeDelete(WriteTxn& txn, std::string key, std::string range_end)
    : txn_(txn), next_(std::move(key)), range_end_(std::move(range_end)) {
  ++txn_.counts_.deletes;
}

Result<bool> RangeDelete::step(size_t* keys_left, const KvVisitor& prev, size_t bytes_max) {
  KeyIndex& index = *txn_.store_.index_;
  const KeyRange range{next_, range_end_};
  if (prev && !std::exchange(counted_, true)) ++txn_.counts_.ranges;
  // Entries stay where they are while the tree around them changes.
  std::vector<const KeyEntry*> doomed;
  std::string next;
  bool done = true;
  if (range.single()) {
    const KeyEntry* entry = index.locate(next_);
    if (entry && entry->live()) doomed.push_back(entry);
  } else if (!range.empty()) {
    for (IndexCursor c(index.ref(), next_, true); c.valid() && c.before_end(range); c.next()) {
      if (*keys_left == 0) {
        next = c.entry().key();
        done = false;
        break;
      }
      --*keys_left;
      if (c.entry().live()) doomed.push_back(&c.entry());
    }
  }
  if (prev) {
    size_t handed = 0;
    for (size_t i = 0; i < doomed.size(); ++i) {
      if (handed >= bytes_max) {
        next = doomed[i]->key();
        done = false;
        doomed.resize(i);
        break;
      }
      ASSIGN_OR_RETURN(const std::string_view bytes, txn_.record(doomed[i]->newest()->meta()));
      handed += bytes.size();
      if (wants_prev_) wants_prev_ = prev(bytes);
    }
  }
  for (const KeyEntry* entry : doomed) {
    if (!range.single()) index.locate(entry->key());
    txn_.erase_located(entry->key(), entry->newest()->has_lease());
  }
  deleted_ += static_cast<int64_t>(doomed.size());
  if (!done) next_ = std::move(next);
  return done;
}

Result<RangeScan> WriteTxn::range(const RangeRequest& request) {
  ++counts_.ranges;
  return RangeScan::start_on(store_.snapshot_now(), nullptr, request);
}

}  // namespace quoin::mvcc
