// Which watchers want a key: single keys by hash, ranges by a tree of intervals.
//
// The tree is a treap ordered by (begin, end), each node knowing the furthest end below it; watchers of the
// same range share a node, so ten thousand watchers of one prefix cost one comparison.
//
// T has a member `size_t place`, which is the set's while the watcher is in it: with it a watcher is removed
// without a search among those of the same range. A watcher is in one set at a time.
//
// Threads: confined to its owner. The set does not own what it points to.
// Order: match() calls in no particular order; callers that send anything sort.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/prng.h"
#include "mvcc/key_range.h"

namespace quoin::mvcc {

template <class T>
class WatcherSet {
 public:
  void add(const KeyRange& range, T* watcher) {
    ++size_;
    if (range.single()) {
      put_in(&points_[range.key], watcher);
      return;
    }
    if (Node* node = find(root_.get(), range)) {
      put_in(&node->watchers, watcher);
      return;
    }
    auto fresh = std::make_unique<Node>();
    fresh->begin = range.key;
    fresh->end = range.range_end;
    fresh->priority = prng_.next();
    put_in(&fresh->watchers, watcher);
    fresh->update();
    auto [below, above] = split(std::move(root_), range);
    root_ = merge(merge(std::move(below), std::move(fresh)), std::move(above));
  }

  // The watcher must have been added with this range.
  void remove(const KeyRange& range, T* watcher) {
    --size_;
    if (range.single()) {
      const auto it = points_.find(range.key);
      CHECK(it != points_.end());
      drop(&it->second, watcher);
      if (it->second.empty()) points_.erase(it);
      return;
    }
    Node* node = find(root_.get(), range);
    CHECK(node != nullptr);
    drop(&node->watchers, watcher);
    if (node->watchers.empty()) root_ = erase(std::move(root_), range);
  }

  template <class Visit>
  void match(std::string_view key, Visit&& visit) const {
    if (const auto it = points_.find(key); it != points_.end()) {
      for (T* w : it->second) visit(*w);
    }
    stab(root_.get(), key, visit);
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  struct Node {
    std::string begin, end;
    uint64_t priority = 0;
    std::vector<T*> watchers;
    std::unique_ptr<Node> left, right;
    const std::string* furthest = nullptr;  // null: no end

    KeyRange range() const { return {begin, end}; }
    void update() {
      furthest = range().open_ended() ? nullptr : &end;
      for (const Node* child : {left.get(), right.get()}) {
        if (child && furthest && (!child->furthest || *child->furthest > *furthest))
          furthest = child->furthest;
      }
    }
  };
  using Tree = std::unique_ptr<Node>;

  static bool less(const KeyRange& a, const KeyRange& b) {
    return std::tie(a.key, a.range_end) < std::tie(b.key, b.range_end);
  }
  static Node* find(Node* node, const KeyRange& range) {
    while (node) {
      if (less(range, node->range())) {
        node = node->left.get();
      } else if (less(node->range(), range)) {
        node = node->right.get();
      } else {
        return node;
      }
    }
    return nullptr;
  }
  // Nodes before `range` and the others.
  static std::pair<Tree, Tree> split(Tree tree, const KeyRange& range) {
    if (!tree) return {};
    if (less(tree->range(), range)) {
      auto [below, above] = split(std::move(tree->right), range);
      tree->right = std::move(below);
      tree->update();
      return {std::move(tree), std::move(above)};
    }
    auto [below, above] = split(std::move(tree->left), range);
    tree->left = std::move(above);
    tree->update();
    return {std::move(below), std::move(tree)};
  }
  static Tree merge(Tree a, Tree b) {
    if (!a) return b;
    if (!b) return a;
    if (a->priority > b->priority) {
      a->right = merge(std::move(a->right), std::move(b));
      a->update();
      return a;
    }
    b->left = merge(std::move(a), std::move(b->left));
    b->update();
    return b;
  }
  static Tree erase(Tree tree, const KeyRange& range) {
    if (less(range, tree->range())) {
      tree->left = erase(std::move(tree->left), range);
    } else if (less(tree->range(), range)) {
      tree->right = erase(std::move(tree->right), range);
    } else {
      return merge(std::move(tree->left), std::move(tree->right));
    }
    tree->update();
    return tree;
  }
  static void put_in(std::vector<T*>* watchers, T* watcher) {
    watcher->place = watchers->size();
    watchers->push_back(watcher);
  }
  static void drop(std::vector<T*>* watchers, T* watcher) {
    const size_t place = watcher->place;
    CHECK(place < watchers->size() && (*watchers)[place] == watcher);
    (*watchers)[place] = watchers->back();
    (*watchers)[place]->place = place;
    watchers->pop_back();
  }
  template <class Visit>
  static void stab(const Node* node, std::string_view key, Visit&& visit) {
    while (node && (!node->furthest || key < *node->furthest)) {
      stab(node->left.get(), key, visit);
      if (key < node->begin) return;
      if (node->range().before_end(key)) {
        for (T* w : node->watchers) visit(*w);
      }
      node = node->right.get();
    }
  }

  // Looks up views without copying them; absl's own string hash knows only its own view type here.
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view key) const { return std::hash<std::string_view>{}(key); }
  };
  absl::flat_hash_map<std::string, std::vector<T*>, Hash, std::equal_to<>> points_;
  Tree root_;
  size_t size_ = 0;
  Prng prng_{1};  // balance only; no order that leaves the set depends on it
};

}  // namespace quoin::mvcc
