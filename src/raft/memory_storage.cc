#include "raft/memory_storage.h"

#include "base/check.h"

namespace quoin::raft {
namespace {

uint64_t held_by(std::span<const Entry> entries) {
  uint64_t bytes = 0;
  for (const Entry& e : entries) bytes += sizeof(Entry) + e.data.size();
  return bytes;
}

}  // namespace

MemoryStorage::MemoryStorage() : snapshot_(std::make_shared<const Snapshot>()) {}

Result<> MemoryStorage::entries(Index lo, Index hi, uint64_t bytes_max, std::vector<Entry>& out) const {
  if (lo < first_index()) return Code::kLogCompacted;
  CHECK(lo <= hi && hi <= last_index() + 1, "entries' hi({}) is out of bound lastindex({})", hi,
        last_index());
  if (entries_.empty()) return Code::kLogUnavailable;
  const Index first = first_index();
  const auto part = limit_size(entries_.range(lo - first, hi - first), bytes_max);
  out.insert(out.end(), part.begin(), part.end());
  return {};
}

Result<Term> MemoryStorage::term(Index index) const {
  if (index < compacted_.index) return Code::kLogCompacted;
  if (index == compacted_.index) return compacted_.term;
  if (index > last_index()) return Code::kLogUnavailable;
  return entries_[index - first_index()].term;
}

void MemoryStorage::append(std::vector<Entry> entries) {
  std::span<Entry> fresh(entries);
  while (!fresh.empty() && fresh.front().index < first_index()) fresh = fresh.subspan(1);
  if (fresh.empty()) return;
  const Index first = fresh.front().index;
  CHECK(first <= last_index() + 1, "missing log entry [last: {}, append at: {}]", last_index(), first);
  const size_t kept = first - first_index();
  bytes_ += held_by(fresh);
  bytes_ -= held_by(entries_.range(kept, entries_.size()));
  entries_.truncate(kept);
  entries_.append(fresh);
}

Result<> MemoryStorage::apply_snapshot(std::shared_ptr<const Snapshot> snapshot) {
  if (snapshot_->metadata.index >= snapshot->metadata.index && !snapshot_->empty()) {
    return make_error(Code::kInvalidArgument, "requested index is older than the existing snapshot");
  }
  snapshot_ = std::move(snapshot);
  compacted_ = {snapshot_->metadata.term, snapshot_->metadata.index};
  entries_.clear();
  bytes_ = 0;
  return {};
}

Result<std::shared_ptr<const Snapshot>> MemoryStorage::create_snapshot(Index index,
                                                                       const ConfState* conf_state,
                                                                       Blob data) {
  if (index <= snapshot_->metadata.index) {
    return make_error(Code::kInvalidArgument, "requested index is older than the existing snapshot");
  }
  CHECK(index <= last_index(), "snapshot {} is out of bound lastindex({})", index, last_index());
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->metadata.index = index;
  ASSIGN_OR_RETURN(snapshot->metadata.term, term(index));
  snapshot->metadata.conf_state = conf_state ? *conf_state : snapshot_->metadata.conf_state;
  snapshot->data = std::move(data);
  snapshot_ = std::move(snapshot);
  return snapshot_;
}

Result<> MemoryStorage::compact(Index index) {
  if (index <= compacted_.index) return Code::kLogCompacted;
  CHECK(index <= last_index(), "compact {} is out of bound lastindex({})", index, last_index());
  const size_t n = index - compacted_.index;
  compacted_ = id_of(entries_[n - 1]);
  bytes_ -= held_by(entries_.range(0, n));
  entries_.drop_front(n);
  return {};
}

Index MemoryStorage::compaction_within(uint64_t bytes_max, Index limit) const {
  uint64_t left = bytes_;
  Index index = compacted_.index;
  for (size_t i = 0; left > bytes_max && index < limit && i < entries_.size(); ++i, ++index) {
    left -= held_by(entries_.range(i, i + 1));
  }
  return index;
}

}  // namespace quoin::raft
