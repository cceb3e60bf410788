// Sorting many keys that lie anywhere in memory.
//
// A comparison sort would fetch two keys from memory for each comparison, and keys of one store share long
// prefixes, so that short heads do not tell them apart. Here items are sorted by eight bytes at a time that
// were fetched once, and only runs that are equal in them go on behind what all keys of the run have in
// common.
//
// Threads: free function without state.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "mvcc/index_node.h"

namespace quoin::mvcc {

struct SortItem {
  uint64_t head = 0;
  uint32_t number = 0;  // the caller's; equal keys end up in its order
  uint32_t left = 0;    // bytes of the key from where `head` begins, at most 9
};

// Orders [begin, end) by key_of(number), then by number. The first `depth` bytes of all keys are equal.
template <class KeyOf>
void sort_keys(SortItem* begin, SortItem* end, size_t depth, const KeyOf& key_of) {
  if (end - begin < 2) return;
  const std::string_view first = key_of(begin->number);
  size_t common = first.size();
  bool same_size = true;
  for (const SortItem* i = begin + 1; i != end; ++i) {
    const std::string_view key = key_of(i->number);
    same_size = same_size && key.size() == first.size();
    if (key.size() < common || key.substr(depth, common - depth) != first.substr(depth, common - depth)) {
      common = depth + common_prefix(first.substr(depth, common - depth), key.substr(depth));
    }
  }
  if (common == first.size() && same_size) {
    std::sort(begin, end, [](const SortItem& a, const SortItem& b) { return a.number < b.number; });
    return;
  }
  for (SortItem* i = begin; i != end; ++i) {
    const std::string_view key = key_of(i->number);
    i->head = head_of<uint64_t>(key, common);
    i->left = static_cast<uint32_t>(std::min<size_t>(key.size() - common, 9));
  }
  // Heads are filled up with zeros, so of equal ones the shorter key comes first.
  std::sort(begin, end, [](const SortItem& a, const SortItem& b) {
    if (a.head != b.head) return a.head < b.head;
    if (a.left != b.left) return a.left < b.left;
    return a.number < b.number;
  });
  for (SortItem* run = begin; run != end;) {
    SortItem* after = run + 1;
    while (after != end && after->head == run->head && after->left == run->left) ++after;
    if (run->left == 9) sort_keys(run, after, common + 8, key_of);
    run = after;
  }
}

}  // namespace quoin::mvcc
