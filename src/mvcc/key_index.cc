#include "mvcc/key_index.h"

#include <algorithm>
#include <cstring>

#include "mvcc/node_build.h"

namespace quoin::mvcc {

IndexStorage::IndexStorage() : root(new_leaf(pool, 0)) {}

KeyIndex::KeyIndex() : storage_(std::make_shared<IndexStorage>()) {}

// ---- finding ----

void KeyIndex::find_path(std::string_view key) {
  Node* node = storage_->root;
  path_.depth = 0;
  while (!node->leaf) {
    auto* inner = static_cast<Inner*>(node);
    CHECK(path_.depth < kTreeDepthMax);
    path_.nodes[path_.depth] = inner;
    const int at = child_for(*inner, key);
    path_.at[path_.depth++] = at;
    node = inner->children[at];
    prefetch_node(node);
  }
  path_.leaf = static_cast<Leaf*>(node);
  path_.slot = slot_for(*path_.leaf, key);
  path_.found = path_.slot < path_.leaf->size && path_.leaf->entries[path_.slot]->key() == key;
}

const KeyEntry* KeyIndex::locate(std::string_view key) {
  find_path(key);
  return path_.found ? path_.leaf->entries[path_.slot] : nullptr;
}

KeyIndex::Fences KeyIndex::fences(int depth) const {
  Fences f;
  for (int d = depth; d-- > 0;) {
    const Inner& node = *path_.nodes[d];
    if (!f.lo && path_.at[d] > 0) f.lo = node.first[path_.at[d]];
    if (!f.hi && path_.at[d] + 1 < node.size) f.hi = node.first[path_.at[d] + 1];
  }
  return f;
}

// ---- copying what was published ----

Node** KeyIndex::link(int depth) {
  return depth == 0 ? &storage_->root : &path_.nodes[depth - 1]->children[path_.at[depth - 1]];
}

void KeyIndex::retire(Node* node) {
  storage_->reclaimer.retire(node, node->birth, node->leaf ? Retired::Kind::kLeaf : Retired::Kind::kInner);
}

void KeyIndex::own_inner() {
  changed_ = true;
  for (int d = 0; d < path_.depth; ++d) {
    Inner* node = path_.nodes[d];
    if (node->birth == version_) continue;
    auto* copy = storage_->pool.make<Inner>(*node);
    copy->birth = version_;
    *link(d) = copy;
    path_.nodes[d] = copy;
    retire(node);
  }
}

void KeyIndex::own_leaf() {
  Leaf* leaf = path_.leaf;
  if (leaf->birth == version_) return;
  auto* copy = storage_->pool.make<Leaf>(*leaf);
  copy->birth = version_;
  *link(path_.depth) = copy;
  path_.leaf = copy;
  retire(leaf);
}

void KeyIndex::copy_path(std::string_view key) {
  find_path(key);
  own_inner();
  own_leaf();
}

// ---- changes ----

void KeyIndex::add_live(int delta) {
  own_inner();
  for (int d = 0; d < path_.depth; ++d) path_.nodes[d]->live[path_.at[d]] += delta;
  live_keys_ += delta;
}

void KeyIndex::put_located(std::string_view key, const RevisionNode& node) {
  DCHECK(!node.is_tombstone());
  if (!path_.found) {
    insert_entry(KeyEntry::create(storage_->pool, key, node));
  } else {
    KeyEntry* entry = path_.leaf->entries[path_.slot];
    const bool lived = entry->live();
    entry->push(storage_->pool, node);
    if (lived) return;
    add_live(+1);
  }
  storage_->log.append(node.main, key, +1, version_);
}

void KeyIndex::tombstone_located(Revision revision) {
  DCHECK(path_.found);
  KeyEntry* entry = path_.leaf->entries[path_.slot];
  DCHECK(entry->live());
  entry->push(storage_->pool, RevisionNode::tombstone(revision));
  add_live(-1);
  storage_->log.append(revision.main, entry->key(), -1, version_);
}

void KeyIndex::insert_entry(KeyEntry* entry) {
  add_live(+1);
  own_leaf();
  if (path_.leaf->size < kNodeSlots) {
    insert_slot(*path_.leaf, path_.slot, entry);
  } else {
    split_leaf(entry);
  }
}

void KeyIndex::split_leaf(KeyEntry* entry) {
  Leaf& left = *path_.leaf;
  KeyEntry* all[kNodeSlots + 1];
  std::copy_n(left.entries, path_.slot, all);
  all[path_.slot] = entry;
  std::copy(left.entries + path_.slot, left.entries + kNodeSlots, all + path_.slot + 1);
  // Keys that come in order leave full nodes behind.
  const int middle = path_.slot == kNodeSlots ? kNodeSlots : (kNodeSlots + 1) / 2;
  KeyEntry* const separator = all[middle];
  const Fences f = fences(path_.depth);
  Leaf* right = new_leaf(storage_->pool, version_);
  fill_leaf(left, {all, static_cast<size_t>(middle)}, f.lo, separator);
  fill_leaf(*right, {all + middle, static_cast<size_t>(kNodeSlots + 1 - middle)}, separator, f.hi);
  int64_t live_left = 0, live_right = 0;
  for (int i = 0; i <= kNodeSlots; ++i) (i < middle ? live_left : live_right) += all[i]->live();
  insert_child(path_.depth - 1, separator, right, live_left, live_right);
}

void KeyIndex::insert_child(int depth, KeyEntry* first, Node* child, int64_t live_left, int64_t live_right) {
  if (depth < 0) {
    Inner* root = new_inner(storage_->pool, version_);
    const InnerSlot slots[2] = {{nullptr, storage_->root, live_left}, {first, child, live_right}};
    fill_inner(*root, slots, nullptr, nullptr);
    storage_->root = root;
    return;
  }
  Inner& node = *path_.nodes[depth];
  const int at = path_.at[depth];
  node.live[at] = live_left;
  if (node.size < kNodeSlots) {
    insert_slot(node, at + 1, {first, child, live_right});
    return;
  }
  InnerSlot all[kNodeSlots + 1];
  for (int i = 0, from = 0; i <= kNodeSlots; ++i) {
    all[i] = i == at + 1 ? InnerSlot{first, child, live_right} : slot_of(node, from++);
  }
  const int middle = at + 1 == kNodeSlots ? kNodeSlots - 1 : (kNodeSlots + 1) / 2;
  KeyEntry* const separator = all[middle].first;
  const Fences f = fences(depth);
  Inner* right = new_inner(storage_->pool, version_);
  fill_inner(node, {all, static_cast<size_t>(middle)}, f.lo, separator);
  fill_inner(*right, {all + middle, static_cast<size_t>(kNodeSlots + 1 - middle)}, separator, f.hi);
  insert_child(depth - 1, separator, right, node.live_sum(), right->live_sum());
}

// ---- removal (index compaction) ----

void KeyIndex::remove_located() {
  KeyEntry* const entry = path_.leaf->entries[path_.slot];
  DCHECK(path_.found && !entry->live());
  own_inner();
  own_leaf();
  erase_slot(*path_.leaf, path_.slot);
  if (path_.leaf->size < kNodeSlots / 4 && path_.depth > 0) merge_leaf();
  if (path_.leaf->size > 0) move_separator(path_.leaf->entries[0]);
  for (int d = path_.depth; d-- > 0;) {
    if (!shrink_inner(d)) break;
  }
  // No birth is known for an entry: it stays until the views open now are gone.
  storage_->reclaimer.retire(entry, 0, Retired::Kind::kEntry);
}

// Makes `first` the separator in front of the path's leaf. What lies to the left of it then reaches further
// up than it was built for, so nodes along that edge whose prefix `first` does not share are built anew.
void KeyIndex::move_separator(KeyEntry* first) {
  int d = path_.depth - 1;
  while (d >= 0 && path_.at[d] == 0) --d;
  if (d < 0 || path_.nodes[d]->first[path_.at[d]] == first) return;
  Inner& parent = *path_.nodes[d];
  const int left = path_.at[d] - 1;
  set_first(parent, left + 1, first);
  const KeyEntry* lo = left > 0 ? parent.first[left] : fences(d).lo;
  for (Node** link = &parent.children[left];;) {
    if (!has_prefix_of(**link, first->key())) {
      Node* const old = *link;
      if (old->birth != version_) {
        *link = copy_node(storage_->pool, *old, version_);
        retire(old);
      }
      refit(**link, lo, first);
    }
    if ((*link)->leaf) return;
    // Own already: a child may only be replaced in a node that is.
    auto* inner = static_cast<Inner*>(*link);
    if (inner->birth != version_) {
      Inner* copy = static_cast<Inner*>(copy_node(storage_->pool, *inner, version_));
      *link = copy;
      retire(inner);
      inner = copy;
    }
    lo = inner->first[inner->size - 1];
    link = &inner->children[inner->size - 1];
  }
}

// Merges the path's leaf with a neighbour if it is empty or both are small enough.
void KeyIndex::merge_leaf() {
  const int d = path_.depth - 1;
  Inner& parent = *path_.nodes[d];
  const int j = path_.at[d] > 0 ? path_.at[d] - 1 : 0;
  auto* left = static_cast<Leaf*>(parent.children[j]);
  auto* right = static_cast<Leaf*>(parent.children[j + 1]);
  const int sum = left->size + right->size;
  if (path_.leaf->size > 0 && sum > kNodeSlots * 3 / 4) return;
  KeyEntry* all[kNodeSlots];
  std::copy_n(left->entries, left->size, all);
  std::copy_n(right->entries, right->size, all + left->size);
  path_.at[d] = j;
  const Fences f = merged_fences(d);
  Leaf* merged = new_leaf(storage_->pool, version_);
  fill_leaf(*merged, {all, static_cast<size_t>(sum)}, f.lo, f.hi);
  parent.children[j] = merged;
  parent.live[j] += parent.live[j + 1];
  erase_slot(parent, j + 1);
  retire(left);
  retire(right);
  path_.leaf = merged;
}

// Fences around children at[depth] and at[depth] + 1 of the node at this depth.
KeyIndex::Fences KeyIndex::merged_fences(int depth) const {
  const Inner& parent = *path_.nodes[depth];
  const int j = path_.at[depth];
  Fences f = fences(depth);
  if (j > 0) f.lo = parent.first[j];
  if (j + 2 < parent.size) f.hi = parent.first[j + 2];
  return f;
}

// Keeps the inner node at this depth from having a single child; true if its parent must be looked at too.
bool KeyIndex::shrink_inner(int depth) {
  Inner& node = *path_.nodes[depth];
  if (depth == 0) {
    if (node.size == 1) {
      storage_->root = node.children[0];
      retire(&node);
    }
    return false;
  }
  if (node.size >= kNodeSlots / 4) return false;
  Inner& parent = *path_.nodes[depth - 1];
  const int j = path_.at[depth - 1] > 0 ? path_.at[depth - 1] - 1 : 0;
  auto* left = static_cast<Inner*>(parent.children[j]);
  auto* right = static_cast<Inner*>(parent.children[j + 1]);
  const int sum = left->size + right->size;
  if (node.size > 1 && sum > kNodeSlots * 3 / 4) return false;
  InnerSlot all[kNodeSlots + 1];
  for (int i = 0; i < left->size; ++i) all[i] = slot_of(*left, i);
  for (int i = 0; i < right->size; ++i) all[left->size + i] = slot_of(*right, i);
  all[left->size].first = parent.first[j + 1];
  path_.at[depth - 1] = j;
  const Fences f = merged_fences(depth - 1);
  const bool merge = sum <= kNodeSlots;
  const int middle = merge ? sum : sum / 2;
  Inner* first = new_inner(storage_->pool, version_);
  fill_inner(*first, {all, static_cast<size_t>(middle)}, f.lo, merge ? f.hi : all[middle].first);
  parent.children[j] = first;
  parent.live[j] = first->live_sum();
  if (merge) {
    erase_slot(parent, j + 1);
  } else {
    Inner* second = new_inner(storage_->pool, version_);
    fill_inner(*second, {all + middle, static_cast<size_t>(sum - middle)}, all[middle].first, f.hi);
    parent.children[j + 1] = second;
    parent.live[j + 1] = second->live_sum();
    set_first(parent, j + 1, all[middle].first);
  }
  retire(left);
  retire(right);
  return merge;
}

bool KeyIndex::compact_step(int64_t revision, size_t entries_max, std::string* from) {
  std::vector<KeyEntry*> dead;
  bool end = true;
  for (IndexCursor c(ref(), *from); c.valid(); c.next()) {
    auto& entry = const_cast<KeyEntry&>(c.entry());
    if (entries_max-- == 0) {
      *from = entry.key();
      end = false;
      break;
    }
    const RevisionNode& newest = *entry.newest();
    if (newest.is_tombstone() && newest.main < revision) {
      dead.push_back(&entry);
    } else if (LinkedNode* chain = entry.cut_below(revision)) {
      // Who reads now may still come by at the end of a jump.
      storage_->reclaimer.retire(chain, 0, Retired::Kind::kChain);
    }
  }
  for (KeyEntry* entry : dead) {
    find_path(entry->key());
    CHECK(path_.found && path_.leaf->entries[path_.slot] == entry);
    remove_located();
  }
  return end;
}

// ---- building ----

namespace {

// Cuts `size` things into as many even parts of at most `most` as it takes; calls part(begin, end).
template <class Part>
void cut_evenly(size_t size, size_t most, Part&& part) {
  const size_t parts = (size + most - 1) / most;
  for (size_t i = 0; i < parts; ++i) part(size * i / parts, size * (i + 1) / parts);
}

}  // namespace

void KeyIndex::build(const std::vector<KeyEntry*>& entries) {
  CHECK(storage_->root->leaf && storage_->root->size == 0 && live_keys_ == 0);
  if (entries.empty()) return;
  // Some room in each node, so that the first writes do not split every one.
  constexpr size_t kFill = kNodeSlots * 7 / 8;
  std::vector<InnerSlot> level;
  cut_evenly(entries.size(), kFill, [&](size_t begin, size_t end) {
    Leaf* leaf = new_leaf(storage_->pool, version_);
    fill_leaf(*leaf, {entries.data() + begin, end - begin}, begin > 0 ? entries[begin] : nullptr,
              end < entries.size() ? entries[end] : nullptr);
    int64_t live = 0;
    for (size_t i = begin; i < end; ++i) live += entries[i]->live();
    live_keys_ += live;
    level.push_back({entries[begin], leaf, live});
  });
  while (level.size() > 1) {
    std::vector<InnerSlot> above;
    cut_evenly(level.size(), kFill, [&](size_t begin, size_t end) {
      Inner* inner = new_inner(storage_->pool, version_);
      fill_inner(*inner, {level.data() + begin, end - begin}, begin > 0 ? level[begin].first : nullptr,
                 end < level.size() ? level[end].first : nullptr);
      above.push_back({level[begin].first, inner, inner->live_sum()});
    });
    level = std::move(above);
  }
  retire(storage_->root);
  storage_->root = level[0].child;
  changed_ = true;
}

// ---- versions ----

std::shared_ptr<const IndexView> KeyIndex::working_view() const {
  return std::make_shared<const IndexView>(storage_, nullptr, ref());
}

std::shared_ptr<const IndexView> KeyIndex::publish(int64_t revision, int64_t compact_revision) {
  if (storage_->log.trim(std::max(revision - kLogRevisions, compact_revision))) changed_ = true;
  if (!published_ || changed_ || compact_revision != published_compact_revision_) {
    published_compact_revision_ = compact_revision;
    published_ = std::make_shared<const IndexView>(
        storage_, storage_->reclaimer.pin(version_, compact_revision), ref());
    ++version_;
    changed_ = false;
  }
  return published_;
}

}  // namespace quoin::mvcc
