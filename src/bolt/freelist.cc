#include "bolt/freelist.h"

#include <algorithm>

#include "base/check.h"

namespace quoin::bolt {

bool Freelist::add_free(PageId id) {
  if (free_.test(id)) return false;
  free_.set(id);
  ++free_count_;
  return true;
}

void Freelist::place(const Run& run, const std::vector<TxId>& readers) {
  const auto newer = std::lower_bound(readers.begin(), readers.end(), run.freed);
  if (newer != readers.begin() && *(newer - 1) >= run.allocated) {
    waits_[*(newer - 1)].push_back(run);
    return;
  }
  for (uint64_t i = 0; i < run.count; ++i) {
    pending_.clear(run.first + i);
    free_.set(run.first + i);
  }
  pending_count_ -= run.count;
  free_count_ += run.count;
}

void Freelist::release(const std::vector<TxId>& readers) {
  std::vector<Run> runs = std::move(fresh_);
  fresh_.clear();
  for (auto it = waits_.begin(); it != waits_.end();) {
    if (std::binary_search(readers.begin(), readers.end(), it->first)) {
      ++it;
      continue;
    }
    runs.insert(runs.end(), it->second.begin(), it->second.end());
    it = waits_.erase(it);
  }
  for (const Run& run : runs) place(run, readers);
  while (!allocated_.empty() && (readers.empty() || allocated_.front().first <= readers.front())) {
    for (PageId id : allocated_.front().second) {
      const auto it = allocated_by_.find(id);
      if (it != allocated_by_.end() && it->second == allocated_.front().first) allocated_by_.erase(it);
    }
    allocated_ids_ -= allocated_.front().second.size();
    allocated_.pop_front();
  }
  drop_freed_again();
}

void Freelist::drop_freed_again() {
  constexpr uint64_t kSlack = 1024;
  if (allocated_ids_ <= 2 * allocated_by_.size() + kSlack) return;
  allocated_ids_ = 0;
  std::erase_if(allocated_, [&](auto& by_tx) {
    std::erase_if(by_tx.second, [&](PageId id) {
      const auto it = allocated_by_.find(id);
      return it == allocated_by_.end() || it->second != by_tx.first;
    });
    allocated_ids_ += by_tx.second.size();
    return by_tx.second.empty();
  });
}

std::optional<PageId> Freelist::allocate(uint64_t count) {
  const auto first = free_.lowest_run(count);
  if (!first) return std::nullopt;
  for (uint64_t i = 0; i < count; ++i) free_.clear(*first + i);
  free_count_ -= count;
  return first;
}

void Freelist::note_allocated(PageId first, TxId txid, bool readers_open) {
  if (!readers_open) return;  // whoever opens later sees this page anyway
  if (allocated_.empty() || allocated_.back().first != txid) allocated_.push_back({txid, {}});
  allocated_.back().second.push_back(first);
  ++allocated_ids_;
  allocated_by_[first] = txid;
}

bool Freelist::free_run(PageId first, uint64_t count, TxId txid) {
  for (uint64_t i = 0; i < count; ++i)
    if (free_.test(first + i) || pending_.test(first + i)) return false;
  Run run{first, count, TxId(), txid};
  if (const auto it = allocated_by_.find(first); it != allocated_by_.end()) {
    run.allocated = it->second;
    allocated_by_.erase(it);
  }
  for (uint64_t i = 0; i < count; ++i) pending_.set(first + i);
  pending_count_ += count;
  fresh_.push_back(run);
  return true;
}

PageId Freelist::trim(PageId hwm) {
  while (hwm.v > 2 && free_.test(hwm - 1)) {
    hwm = hwm - 1;
    free_.clear(hwm);
    --free_count_;
  }
  return hwm;
}

std::vector<PageId> Freelist::all() const {
  std::vector<PageId> ids;
  ids.reserve(free_count_ + pending_count_);
  auto f = free_.next_set(PageId()), p = pending_.next_set(PageId());
  while (f || p) {
    const PageId id = !p || (f && *f < *p) ? *f : *p;
    ids.push_back(id);
    if (f == id) f = free_.next_set(id + 1);
    if (p == id) p = pending_.next_set(id + 1);
  }
  return ids;
}

}  // namespace quoin::bolt
