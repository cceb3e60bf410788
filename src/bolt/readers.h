// The open read transactions by txid: what keeps freed pages from reuse and the file from being cut.
//
// Threads: all methods on any thread (a mutex; held for a few instructions). A ReadTx removes itself wherever
// its last reference drops; the file thread asks before it reuses pages. That needs no further lock: a reader
// that goes away between the question and the reuse only makes the answer more careful than necessary, and
// new readers start from the durable meta, whose pages are never reused.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "base/check.h"
#include "bolt/format.h"

namespace quoin::bolt {

class ReaderTable {
 public:
  void add(const Meta& meta) {
    std::lock_guard lock(mutex_);
    Entry& e = open_[meta.txid];
    ++e.count;
    e.hwm = meta.hwm;
    ++total_;
  }
  void remove(TxId txid) {
    std::lock_guard lock(mutex_);
    const auto it = open_.find(txid);
    CHECK(it != open_.end());
    if (--it->second.count == 0) open_.erase(it);
    --total_;
  }
  // Distinct txids, ascending.
  std::vector<TxId> txids() const {
    std::lock_guard lock(mutex_);
    std::vector<TxId> v;
    v.reserve(open_.size());
    for (const auto& [txid, e] : open_) v.push_back(txid);
    return v;
  }
  uint64_t count() const {
    std::lock_guard lock(mutex_);
    return total_;
  }
  // The highest HWM of an open reader; 0 without one.
  PageId hwm_max() const {
    std::lock_guard lock(mutex_);
    PageId hwm;
    for (const auto& [txid, e] : open_) hwm = std::max(hwm, e.hwm);
    return hwm;
  }

 private:
  struct Entry {
    uint64_t count = 0;
    PageId hwm;
  };
  mutable std::mutex mutex_;
  std::map<TxId, Entry> open_;
  uint64_t total_ = 0;
};

}  // namespace quoin::bolt
