#include "bolt/read_tx.h"

#include "bolt/readers.h"
#include "bolt/store.h"

namespace quoin::bolt {
namespace {

struct Found {
  PageView leaf;
  size_t index = 0;
  bool exact = false;
};

// The way down to one key, without a cursor's stack.
Result<Found> find(const PageSource& source, const TreeRef& tree, std::string_view key) {
  Found f;
  if (tree.inline_page) {
    f.leaf = PageView(tree.inline_page);
  } else {
    ASSIGN_OR_RETURN(f.leaf, source.store->load(tree.root, source.hwm));
  }
  KeyRange range;
  for (size_t depth = 1; !f.leaf.leaf(); ++depth) {
    if (depth == kDepthMax)
      return source.store->corruption(
          fmt::format("the tree below page {} is deeper than {} levels", tree.root, kDepthMax));
    const size_t i = f.leaf.child_index(key);
    range.from = f.leaf.branch_key(i);
    if (i + 1 < f.leaf.count()) range.to = f.leaf.branch_key(i + 1);
    ASSIGN_OR_RETURN(f.leaf, source.store->load(f.leaf.child(i), source.hwm, range));
  }
  f.index = range.from && range.to ? f.leaf.lower_bound_between(key, *range.from, *range.to)
                                   : f.leaf.lower_bound(key);
  f.exact = f.index < f.leaf.count() && f.leaf.leaf_key(f.index) == key;
  return f;
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
  if (!f.exact || f.leaf.item_flags(f.index) != 0) return std::optional<std::string_view>();
  return std::optional(f.leaf.value(f.index));
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
