// Filling and changing the nodes of the key index that are not published yet. Each function leaves heads,
// prefix and `checked` as index_node.h says; `lo` and `hi` are the node's fences, null where the tree ends.
//
// Threads: apply strand.
#pragma once
#include <span>

#include "mvcc/index_node.h"

namespace quoin::mvcc {

struct InnerSlot {
  KeyEntry* first = nullptr;  // not used in slot 0
  Node* child = nullptr;
  int64_t live = 0;
};

Leaf* new_leaf(IndexPool& pool, uint64_t birth);
Inner* new_inner(IndexPool& pool, uint64_t birth);

// `entries` must not point into `leaf`.
void fill_leaf(Leaf& leaf, std::span<KeyEntry* const> entries, const KeyEntry* lo, const KeyEntry* hi);
void fill_inner(Inner& inner, std::span<const InnerSlot> slots, const KeyEntry* lo, const KeyEntry* hi);

Node* copy_node(IndexPool& pool, const Node& node, uint64_t birth);
// Computes prefix and heads again for changed fences.
void refit(Node& node, const KeyEntry* lo, const KeyEntry* hi);
// False if the node takes a prefix for granted that `key` does not have.
bool has_prefix_of(const Node& node, std::string_view key);

inline InnerSlot slot_of(const Inner& inner, int at) {
  return {inner.first[at], inner.children[at], inner.live[at]};
}

void insert_slot(Leaf& leaf, int at, KeyEntry* entry);
void insert_slot(Inner& inner, int at, const InnerSlot& slot);  // at > 0
void erase_slot(Leaf& leaf, int at);
void erase_slot(Inner& inner, int at);  // at > 0
void set_first(Inner& inner, int at, KeyEntry* entry);

}  // namespace quoin::mvcc
