// The tree's invariants, checked from top to bottom; called by tests.
#include "mvcc/key_index.h"

namespace quoin::mvcc {

namespace {

struct Checker {
  int64_t head;
  uint64_t version;
  int depth_of_leaves = -1;
  const KeyEntry* last = nullptr;

  template <class Head>
  void heads(const Node& node, const Head* heads, KeyEntry* const* entries, int n, const KeyEntry* lo,
             const KeyEntry* hi) {
    CHECK(node.checked || (lo && hi), "a node at the edge must check its prefix");
    if (!node.checked) CHECK_LE(node.prefix_size, common_prefix(lo->key(), hi->key()));
    for (int i = 0; i < n; ++i) {
      const std::string_view key = entries[i]->key();
      CHECK_EQ(key.substr(0, node.prefix_size), entries[0]->key().substr(0, node.prefix_size));
      CHECK_EQ(heads[i], head_of<Head>(key, node.prefix_size));
      CHECK(!lo || lo->key() <= key);
      CHECK(!hi || key < hi->key());
    }
  }

  // Returns the number of live keys below; *first is set to the first entry below.
  int64_t node(const Node* n, int depth, const KeyEntry* lo, const KeyEntry* hi, const KeyEntry** first) {
    CHECK_LE(n->birth, version);
    CHECK_LE(int{n->size}, kNodeSlots);
    return n->leaf ? leaf(as_leaf(n), depth, lo, hi, first) : inner(as_inner(n), depth, lo, hi, first);
  }

  int64_t leaf(const Leaf& n, int depth, const KeyEntry* lo, const KeyEntry* hi, const KeyEntry** first) {
    if (depth_of_leaves < 0) depth_of_leaves = depth;
    CHECK_EQ(depth, depth_of_leaves);
    CHECK(n.size > 0 || depth == 0, "an empty leaf below the root");
    heads(n, n.heads, n.entries, n.size, lo, hi);
    *first = n.size ? n.entries[0] : nullptr;
    int64_t live = 0;
    for (int i = 0; i < n.size; ++i) {
      CHECK(!last || last->key() < n.entries[i]->key(), "keys out of order");
      last = n.entries[i];
      live += last->live_at(head);
      int64_t main = INT64_MAX;
      for (const RevisionNode* r = last->newest(); r; r = r->older()) {
        CHECK_LE(r->main, main);
        main = r->main;
        CHECK((r->older() != nullptr) == (r->jump() != nullptr));
        if (r->jump()) CHECK_LE(r->jump()->main, r->older()->main);
      }
    }
    return live;
  }

  int64_t inner(const Inner& n, int depth, const KeyEntry* lo, const KeyEntry* hi, const KeyEntry** first) {
    CHECK_GE(int{n.size}, 2);
    heads(n, n.heads + 1, n.first + 1, n.size - 1, lo, hi);
    int64_t sum = 0;
    for (int i = 0; i < n.size; ++i) {
      const KeyEntry* below = nullptr;
      const int64_t live = node(n.children[i], depth + 1, i > 0 ? n.first[i] : lo,
                                i + 1 < n.size ? n.first[i + 1] : hi, &below);
      CHECK_EQ(n.live[i], live);
      if (i == 0) {
        *first = below;
      } else {
        CHECK(n.first[i] == below, "a separator must be the first entry below its child");
      }
      sum += live;
    }
    return sum;
  }
};

}  // namespace

void KeyIndex::check(int64_t head) const {
  Checker checker{head, version_};
  const KeyEntry* first = nullptr;
  CHECK_EQ(checker.node(storage_->root, 0, nullptr, nullptr, &first), live_keys_);
}

}  // namespace quoin::mvcc
