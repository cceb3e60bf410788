// Which keys live after the first operations of a transaction that has not been executed yet.
//
// The checks before a transaction ask it whether a put finds the key whose value or lease it wants to keep:
// an operation before it in the same transaction may have deleted or made that key.
//
// Threads: confined to the caller's. Lifetime: the keys and range ends passed in, and the store, outlive it.
// Cost: O(log n) for each operation, n being the operations so far; nothing is looked up in the store before
// live() is called. Source: spec api-semantics 2.6.
#pragma once
#include <map>
#include <string_view>

#include "mvcc/key_range.h"
#include "mvcc/store.h"

namespace quoin::server {

class PlannedKeys {
 public:
  explicit PlannedKeys(const mvcc::Store& store) : store_(store) {}
  void put(std::string_view key) { single_[key] = true; }
  void erase(const mvcc::KeyRange& range);
  bool live(std::string_view key) const;

 private:
  const mvcc::Store& store_;
  // Of keys named alone since the last erased range over them: whether they live.
  std::map<std::string_view, bool> single_;
  // Erased ranges: beginning to end, "\0" as in requests for no end. Disjoint.
  std::map<std::string_view, std::string_view> erased_;
};

}  // namespace quoin::server
