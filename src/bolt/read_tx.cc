#include "bolt/read_tx.h"

#include <algorithm>
#include <array>
#include <utility>

#include "bolt/readers.h"
#include "bolt/store.h"

namespace quoin::bolt {
namespace {

struct Found {
  PageView leaf;
  size_t index = 0;
  bool exact = false;
};

// The way down to one key, without a cursor's stack: the page it has come to, and between which separators that
// hangs (empty at the tree's edges).
struct Way {
  PageView page;
  KeyRange range;

  bool bounded() const { return range.from && range.to; }
  bool holds(std::string_view key) const { return bounded() && *range.from <= key && key < *range.to; }
};

Result<Way> from_root(const PageSource& source, const TreeRef& tree) {
  if (tree.inline_page) return Way{PageView(tree.inline_page), {}};
  ASSIGN_OR_RETURN(const PageView root, source.store->load(tree.root, source.hwm));
  return Way{root, {}};
}

// The child of a branch.
size_t child_towards(const Way& way, std::string_view key) {
  return way.bounded() ? way.page.child_index_between(key, *way.range.from, *way.range.to)
                       : way.page.child_index(key);
}

void narrow(Way& way, size_t child) {
  way.range.from = way.page.branch_key(child);
  if (child + 1 < way.page.count()) way.range.to = way.page.branch_key(child + 1);
}

Error too_deep(const PageSource& source, const TreeRef& tree) {
  return source.store->corruption(
      fmt::format("the tree below page {} is deeper than {} levels", tree.root, kDepthMax));
}

Found place_on(const Way& leaf, std::string_view key) {
  Found f;
  f.leaf = leaf.page;
  f.index = leaf.bounded() ? leaf.page.lower_bound_between(key, *leaf.range.from, *leaf.range.to)
                           : leaf.page.lower_bound(key);
  f.exact = f.index < f.leaf.count() && f.leaf.leaf_key(f.index) == key;
  return f;
}

Result<Found> find(const PageSource& source, const TreeRef& tree, std::string_view key) {
  ASSIGN_OR_RETURN(Way way, from_root(source, tree));
  for (size_t depth = 1; !way.page.leaf(); ++depth) {
    if (depth == kDepthMax) return too_deep(source, tree);
    const size_t i = child_towards(way, key);
    narrow(way, i);
    ASSIGN_OR_RETURN(way.page, source.store->load(way.page.child(i), source.hwm, way.range));
  }
  return place_on(way, key);
}

std::optional<std::string_view> value_of(const Found& f) {
  if (!f.exact || f.leaf.item_flags(f.index) != 0) return std::nullopt;
  return f.leaf.value(f.index);
}

// The place of `key` on the leaf of the hint; leaf().data() is null if the key can't stand there. Keys that are
// asked for in order stand side by side.
Found find_near(const LeafHint& hint, std::string_view key) {
  Found f;
  const PageView leaf(hint.leaf);
  const size_t count = leaf.count();
  const size_t next = hint.index + 1;
  if (next < count && leaf.leaf_key(next) == key) {
    f = {leaf, next, true};
  } else if (count > 0 && leaf.leaf_key(0) <= key && key <= leaf.leaf_key(count - 1)) {
    f = {leaf, leaf.lower_bound_between(key, leaf.leaf_key(0), leaf.leaf_key(count - 1)), false};
    f.exact = leaf.leaf_key(f.index) == key;
  }
  return f;
}

}  // namespace

Result<std::optional<std::string_view>> BucketView::get(std::string_view key, LeafHint* hint) const {
  Found f;
  if (hint && hint->leaf) f = find_near(*hint, key);
  if (!f.leaf.data()) {
    ASSIGN_OR_RETURN(f, find(source_, tree_, key));
  }
  if (hint) *hint = {f.leaf.data(), f.index};
  return value_of(f);
}

// All keys go down together, a level at a time, and each next page is asked for before the first is looked at.
Result<> BucketView::get_group(std::span<const std::string_view> keys,
                               std::optional<std::string_view>* out) const {
  CHECK_LE(keys.size(), kGroupMax);
  if (keys.empty()) return {};
  ASSIGN_OR_RETURN(const Way root, from_root(source_, tree_));
  std::array<Way, kGroupMax> ways;
  std::fill_n(ways.begin(), keys.size(), root);
  bool descending = true;
  for (size_t depth = 1; std::exchange(descending, false); ++depth) {
    PageView above;  // from where the key before this one went on
    for (size_t k = 0; k < keys.size(); ++k) {
      Way& way = ways[k];
      const PageView from = std::exchange(above, way.page);
      if (way.page.leaf()) continue;
      if (k > 0 && from.data() == way.page.data() && ways[k - 1].holds(keys[k])) {
        way = ways[k - 1];
        continue;
      }
      if (depth == kDepthMax) return too_deep(source_, tree_);
      descending = true;
      const size_t i = child_towards(way, keys[k]);
      narrow(way, i);
      ASSIGN_OR_RETURN(way.page, source_.store->load(way.page.child(i), source_.hwm, way.range));
      way.page.prefetch_head();
    }
  }
  for (size_t k = 0; k < keys.size(); ++k) {
    if (ways[k].bounded()) ways[k].page.prefetch_item(keys[k], *ways[k].range.from, *ways[k].range.to);
  }
  Found last;
  for (size_t k = 0; k < keys.size(); ++k) {
    const PageView leaf = ways[k].page;
    const size_t next = last.index + 1;
    const bool beside =
        leaf.data() == last.leaf.data() && next < leaf.count() && leaf.leaf_key(next) == keys[k];
    last = beside ? Found{leaf, next, true} : place_on(ways[k], keys[k]);
    out[k] = value_of(last);
  }
  return {};
}

Result<std::optional<BucketView>> BucketView::bucket(std::string_view name) const {
  ASSIGN_OR_RETURN(const Found f, find(source_, tree_, name));
  if (!f.exact || f.leaf.item_flags(f.index) != kItemBucket) return std::optional<BucketView>();
  const std::string_view value = f.leaf.value(f.index);
  const BucketHeader header = BucketHeader::read(value);
  TreeRef tree{header.root, nullptr, nullptr};
  if (header.root == PageId()) tree.inline_page = value.data() + kBucketHeaderBytes;
  return std::optional(BucketView(source_, tree, header.sequence));
}

ReadTx::ReadTx(std::shared_ptr<const Store> store, std::shared_ptr<ReaderTable> readers, const Meta& meta)
    : store_(std::move(store)), readers_(std::move(readers)), meta_(meta) {
  readers_->add(meta_);
}

ReadTx::~ReadTx() {
  readers_->remove(meta_.txid);
}

BucketView ReadTx::root() const {
  return BucketView({store_.get(), meta_.hwm}, {meta_.root, nullptr, nullptr}, meta_.root_sequence);
}

Result<std::optional<std::string_view>> ReadTx::get(std::string_view bucket_name,
                                                    std::string_view key) const {
  ASSIGN_OR_RETURN(const auto b, bucket(bucket_name));
  if (!b) return std::optional<std::string_view>();
  return b->get(key);
}

}  // namespace quoin::bolt
