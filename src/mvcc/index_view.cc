#include "mvcc/index_view.h"

namespace quoin::mvcc {

const KeyEntry* IndexRef::find(std::string_view key) const {
  const Node* node = root;
  while (!node->leaf) {
    const Inner& inner = as_inner(node);
    node = inner.children[child_for(inner, key)];
    prefetch_node(node);
  }
  const Leaf& leaf = as_leaf(node);
  const int slot = slot_for(leaf, key);
  if (slot == leaf.size || leaf.entries[slot]->key() != key) return nullptr;
  return leaf.entries[slot];
}

const RevisionNode* IndexRef::find_live(std::string_view key, int64_t revision) const {
  const KeyEntry* entry = find(key);
  if (!entry) return nullptr;
  const RevisionNode* node = entry->at(revision);
  return node && !node->is_tombstone() ? node : nullptr;
}

int64_t IndexRef::live_below(std::string_view key, int64_t head) const {
  int64_t sum = 0;
  const Node* node = root;
  while (!node->leaf) {
    const Inner& inner = as_inner(node);
    const int child = child_for(inner, key);
    for (int i = 0; i < child; ++i) sum += inner.live[i];
    node = inner.children[child];
  }
  const Leaf& leaf = as_leaf(node);
  const int slot = slot_for(leaf, key);
  for (int i = 0; i < slot; ++i) sum += leaf.entries[i]->live_at(head);
  return sum;
}

int64_t IndexRef::live_total(int64_t head) const {
  if (!root->leaf) return as_inner(root).live_sum();
  int64_t sum = 0;
  for (int i = 0; i < root->size; ++i) sum += as_leaf(root).entries[i]->live_at(head);
  return sum;
}

int64_t IndexRef::count(const KeyRange& range, int64_t revision, int64_t head) const {
  if (range.empty()) return 0;
  if (range.single()) return find_live(range.key, revision) ? 1 : 0;
  if (!counts_at(revision, head)) return walk(range, revision);
  const int64_t above = range.open_ended() ? live_total(head) : live_below(range.range_end, head);
  const int64_t at_head = above - live_below(range.key, head);
  return revision == head ? at_head : at_head - log.delta_after(revision, range);
}

int64_t IndexRef::walk(const KeyRange& range, int64_t revision) const {
  int64_t sum = 0;
  for (IndexCursor c(*this, range.key); c.valid() && c.before_end(range); c.next()) {
    sum += c.entry().live_at(revision);
  }
  return sum;
}

IndexCursor::IndexCursor(const IndexRef& index, std::string_view from, bool live_only)
    : live_only_(live_only) {
  const Node* node = index.root;
  while (!node->leaf) {
    const Inner& inner = as_inner(node);
    nodes_[depth_] = &inner;
    at_[depth_] = child_for(inner, from);
    node = inner.children[at_[depth_++]];
  }
  leaf_ = &as_leaf(node);
  slot_ = slot_for(*leaf_, from);
  if (slot_ == leaf_->size) {
    next_leaf();
  } else {
    enter(*leaf_);
  }
}

void IndexCursor::enter(const Leaf& leaf) {
  leaf_ = &leaf;
  // Entries lie anywhere in memory; asking for all of them at once hides most of the misses of a long range.
  for (int i = slot_; i < leaf.size; ++i) __builtin_prefetch(leaf.entries[i]);
}

void IndexCursor::next_leaf() {
  leaf_ = nullptr;
  while (depth_ > 0) {
    const Inner& inner = *nodes_[depth_ - 1];
    int& at = at_[depth_ - 1];
    do {
      ++at;
    } while (live_only_ && at < inner.size && inner.live[at] == 0);
    if (at < inner.size) {
      descend(inner.children[at]);
      if (leaf_) return;
    } else {
      --depth_;
    }
  }
}

void IndexCursor::descend(const Node* node) {
  while (!node->leaf) {
    const Inner& inner = as_inner(node);
    int first = 0;
    while (live_only_ && first < inner.size - 1 && inner.live[first] == 0) ++first;
    nodes_[depth_] = &inner;
    at_[depth_++] = first;
    node = inner.children[first];
  }
  if (node->size == 0) return;
  slot_ = 0;
  enter(as_leaf(node));
}

}  // namespace quoin::mvcc
