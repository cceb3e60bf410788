#include "mvcc/node_build.h"

#include <algorithm>

namespace quoin::mvcc {

namespace {

// What the keys at the two ends have in common, all keys between have too.
uint32_t shared_prefix(const KeyEntry* a, const KeyEntry* b) {
  return static_cast<uint32_t>(common_prefix(a->key(), b->key()));
}

uint32_t own_prefix(const Leaf& leaf) {
  return leaf.size < 2 ? 0 : shared_prefix(leaf.entries[0], leaf.entries[leaf.size - 1]);
}
uint32_t own_prefix(const Inner& inner) {
  return inner.size < 3 ? 0 : shared_prefix(inner.first[1], inner.first[inner.size - 1]);
}

void set_head(Leaf& leaf, int at) {
  leaf.heads[at] = head_of<uint32_t>(leaf.entries[at]->key(), leaf.prefix_size);
}
void set_head(Inner& inner, int at) {
  inner.heads[at] = head_of<uint64_t>(inner.first[at]->key(), inner.prefix_size);
}

void set_heads(Leaf& leaf) {
  for (int i = 0; i < leaf.size; ++i) set_head(leaf, i);
}
void set_heads(Inner& inner) {
  inner.heads[0] = 0;
  for (int i = 1; i < inner.size; ++i) set_head(inner, i);
}

template <class N>
void set_prefix(N& node, const KeyEntry* lo, const KeyEntry* hi) {
  node.checked = !lo || !hi;
  node.prefix_size = node.checked ? own_prefix(node) : shared_prefix(lo, hi);
  set_heads(node);
}

// After slot `at` took a new key.
template <class N>
void changed_slot(N& node, int at) {
  if (node.checked) {
    const uint32_t prefix = own_prefix(node);
    if (prefix != node.prefix_size) {
      node.prefix_size = prefix;
      set_heads(node);
      return;
    }
  }
  set_head(node, at);
}

template <class T>
void insert_at(T* array, int size, int at, T value) {
  std::copy_backward(array + at, array + size, array + size + 1);
  array[at] = value;
}
template <class T>
void erase_at(T* array, int size, int at) {
  std::copy(array + at + 1, array + size, array + at);
}

}  // namespace

Leaf* new_leaf(IndexPool& pool, uint64_t birth) {
  auto* leaf = new (pool.allocate(sizeof(Leaf))) Leaf;
  leaf->birth = birth;
  leaf->leaf = true;
  leaf->checked = true;
  return leaf;
}

Inner* new_inner(IndexPool& pool, uint64_t birth) {
  auto* inner = new (pool.allocate(sizeof(Inner))) Inner;
  inner->birth = birth;
  return inner;
}

Node* copy_node(IndexPool& pool, const Node& node, uint64_t birth) {
  Node* copy;
  if (node.leaf) {
    copy = pool.make<Leaf>(as_leaf(&node));
  } else {
    copy = pool.make<Inner>(as_inner(&node));
  }
  copy->birth = birth;
  return copy;
}

void refit(Node& node, const KeyEntry* lo, const KeyEntry* hi) {
  if (node.leaf) {
    set_prefix(static_cast<Leaf&>(node), lo, hi);
  } else {
    set_prefix(static_cast<Inner&>(node), lo, hi);
  }
}

bool has_prefix_of(const Node& node, std::string_view key) {
  if (node.checked) return true;
  const KeyEntry* any = node.leaf ? as_leaf(&node).entries[0] : as_inner(&node).first[1];
  return common_prefix(any->key(), key) >= node.prefix_size;
}

void fill_leaf(Leaf& leaf, std::span<KeyEntry* const> entries, const KeyEntry* lo, const KeyEntry* hi) {
  leaf.size = static_cast<uint8_t>(entries.size());
  std::copy(entries.begin(), entries.end(), leaf.entries);
  set_prefix(leaf, lo, hi);
}

void fill_inner(Inner& inner, std::span<const InnerSlot> slots, const KeyEntry* lo, const KeyEntry* hi) {
  inner.size = static_cast<uint8_t>(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    inner.first[i] = i == 0 ? nullptr : slots[i].first;
    inner.children[i] = slots[i].child;
    inner.live[i] = slots[i].live;
  }
  set_prefix(inner, lo, hi);
}

void insert_slot(Leaf& leaf, int at, KeyEntry* entry) {
  insert_at(leaf.entries, leaf.size, at, entry);
  insert_at(leaf.heads, leaf.size, at, uint32_t{0});
  ++leaf.size;
  changed_slot(leaf, at);
}

void insert_slot(Inner& inner, int at, const InnerSlot& slot) {
  insert_at(inner.first, inner.size, at, slot.first);
  insert_at(inner.children, inner.size, at, slot.child);
  insert_at(inner.live, inner.size, at, slot.live);
  insert_at(inner.heads, inner.size, at, uint64_t{0});
  ++inner.size;
  changed_slot(inner, at);
}

void erase_slot(Leaf& leaf, int at) {
  erase_at(leaf.entries, leaf.size, at);
  erase_at(leaf.heads, leaf.size, at);
  --leaf.size;
}

void erase_slot(Inner& inner, int at) {
  erase_at(inner.first, inner.size, at);
  erase_at(inner.children, inner.size, at);
  erase_at(inner.live, inner.size, at);
  erase_at(inner.heads, inner.size, at);
  --inner.size;
}

void set_first(Inner& inner, int at, KeyEntry* entry) {
  inner.first[at] = entry;
  changed_slot(inner, at);
}

}  // namespace quoin::mvcc
