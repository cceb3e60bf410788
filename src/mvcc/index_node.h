// The nodes of the key index: a B+tree over KeyEntry pointers whose inner nodes know how many live keys lie
// below each child.
//
// Threads: a node is written by apply while it is unpublished (its `birth` is the index's working version),
// and never again after.
//
// Search. A node compares a few bytes of the key, its head, with an array of heads, and looks at a whole key
// only where heads are equal. Heads begin behind a prefix that all keys of the node share:
// - between two fences (the separators that lead to the node): what the fences have in common. Every key that
//   is led here has it too, so it needs no look. Children never get wider fences than those they were built
//   with, except by being built anew.
// - at the edges of the tree, where a fence is missing (`checked`): what the node's own keys have in common;
//   the key searched for is compared with it first.
// Invariant: first[i] is the first entry below children[i], for i > 0; first[0] is not used.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/coding.h"
#include "mvcc/key_entry.h"

namespace quoin::mvcc {

constexpr int kNodeSlots = 64;

struct Node {
  uint64_t birth = 0;
  uint32_t prefix_size = 0;
  uint8_t size = 0;
  bool leaf = false;
  bool checked = false;
};
struct Leaf : Node {
  uint32_t heads[kNodeSlots];
  KeyEntry* entries[kNodeSlots];
};
struct Inner : Node {
  uint64_t heads[kNodeSlots];
  KeyEntry* first[kNodeSlots];
  Node* children[kNodeSlots];
  int64_t live[kNodeSlots];
  int64_t live_sum() const {
    int64_t sum = 0;
    for (int i = 0; i < size; ++i) sum += live[i];
    return sum;
  }
};
static_assert(sizeof(Leaf) == 16 + 12 * kNodeSlots);
static_assert(sizeof(Inner) <= IndexPool::kSlotMax);

inline size_t common_prefix(std::string_view a, std::string_view b) {
  const size_t n = a.size() < b.size() ? a.size() : b.size();
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const uint64_t diff = load_le<uint64_t>(a.data() + i) ^ load_le<uint64_t>(b.data() + i);
    if (diff) return i + static_cast<size_t>(std::countr_zero(diff)) / 8;
  }
  while (i < n && a[i] == b[i]) ++i;
  return i;
}

// The bytes behind `prefix`, big-endian, filled up with zeros: heads differ only as their keys do.
template <class Head>
Head head_of(std::string_view key, size_t prefix) {
  if (key.size() >= prefix + sizeof(Head)) {
    const Head raw = load_le<Head>(key.data() + prefix);
    if constexpr (sizeof(Head) == 4) {
      return __builtin_bswap32(raw);
    } else {
      return __builtin_bswap64(raw);
    }
  }
  Head head = 0;
  for (size_t i = 0; i < sizeof(Head); ++i) {
    head = static_cast<Head>(head << 8);
    if (prefix + i < key.size()) head |= static_cast<unsigned char>(key[prefix + i]);
  }
  return head;
}

// Number of heads in [0, n) below `head`, without branches on the data.
template <class Head>
int heads_below(const Head* heads, int n, Head head) {
  const Head* base = heads;
  while (n > 0) {
    const int half = (n + 1) / 2;
    base += (base[half - 1] < head) ? half : 0;
    n -= half;
  }
  return static_cast<int>(base - heads);
}

// Number of keys in [0, n) that are < key (kOrEqual: <= key). `heads` and `entries` are parallel.
template <bool kOrEqual, class Head>
int keys_below(const Node& node, const Head* heads, KeyEntry* const* entries, int n, std::string_view key) {
  if (n == 0) return 0;
  const size_t prefix = node.prefix_size;
  if (node.checked && prefix > 0) {
    const std::string_view shared = entries[0]->key().substr(0, prefix);
    const int order = key.substr(0, prefix).compare(shared);
    if (order != 0) return order < 0 ? 0 : n;
  }
  const Head head = head_of<Head>(key, prefix);
  int lo = heads_below(heads, n, head);
  const std::string_view rest = key.substr(prefix);
  int hi = lo;
  while (hi < n && heads[hi] == head) ++hi;
  while (lo < hi) {
    const int mid = (lo + hi) / 2;
    const int order = entries[mid]->key().substr(prefix).compare(rest);
    if (order < 0 || (kOrEqual && order == 0)) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  return lo;
}

// The child that `key` belongs to.
inline int child_for(const Inner& node, std::string_view key) {
  return keys_below<true>(node, node.heads + 1, node.first + 1, node.size - 1, key);
}
// The first slot whose key is not below `key`.
inline int slot_for(const Leaf& node, std::string_view key) {
  return keys_below<false>(node, node.heads, node.entries, node.size, key);
}

// Asks for the header and the heads at once: the search in them would otherwise wait for one line after the
// other.
inline void prefetch_node(const Node* node) {
  for (size_t at = 0; at < 5 * 64; at += 64) __builtin_prefetch(reinterpret_cast<const char*>(node) + at);
}

inline const Inner& as_inner(const Node* node) {
  return *static_cast<const Inner*>(node);
}
inline const Leaf& as_leaf(const Node* node) {
  return *static_cast<const Leaf*>(node);
}

}  // namespace quoin::mvcc
