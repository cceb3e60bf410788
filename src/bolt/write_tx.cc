#include "bolt/write_tx.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "bolt/node.h"
#include "bolt/store.h"

namespace quoin::bolt {
namespace {

// A node this long is halved when something is put into its middle, so that inserting stays cheap. Pages are
// cut at commit, by bytes.
constexpr size_t kNodeEntriesMax = 1024;

// The value of a bucket item for a bucket without items.
constexpr char kEmptyInlineBucket[kBucketHeaderBytes + kPageHeaderBytes] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, kFlagLeaf};

}  // namespace

// ---- WriteTx ----

WriteTx::WriteTx(std::shared_ptr<const Store> store, const Meta& base, std::shared_ptr<bool> open)
    : store_(std::move(store)),
      base_(base),
      txid_(base.txid + 1),
      source_{store_.get(), base.hwm},
      arena_(std::make_unique<Arena>()),
      nodes_(std::make_unique<std::deque<Node>>()),
      root_(new Bucket(*this, {base.root, nullptr, nullptr}, base.root_sequence)),
      open_(std::move(open)) {
  *open_ = true;
}

WriteTx::~WriteTx() {
  *open_ = false;
}

Node* WriteTx::new_node(bool leaf) {
  return &nodes_->emplace_back(leaf);
}

namespace {
void read_entries(PageView page, Node* node) {
  const size_t n = page.count();
  node->entries.reserve(n + 1);
  for (size_t i = 0; i < n; ++i) {
    if (page.leaf())
      node->entries.push_back(Entry::item(page.leaf_key(i), page.value(i), page.item_flags(i)));
    else
      node->entries.push_back(Entry::branch(page.branch_key(i), page.child(i), nullptr));
  }
}
}  // namespace

Node* WriteTx::node_of(PageView page) {
  Node* node = new_node(page.leaf());
  read_entries(page, node);
  node->page = page.id();  // 0 for an inline bucket
  node->page_count = node->page == PageId() ? 0 : uint64_t{page.overflow()} + 1;
  return node;
}

std::string_view WriteTx::keep(std::string_view bytes) {
  return arena_->copy(bytes);
}

// ---- Bucket: items ----

Result<> Bucket::check_key(std::string_view key) const {
  if (key.empty()) return Error(Code::kInvalidArgument, "key required");
  if (key.size() > kKeyBytesMax) return Error(Code::kInvalidArgument, "key too large");
  return {};
}

void Bucket::changed() {
  ++version_;
  dirty_ = true;
  tx_.changed_ = true;
}

Result<> Bucket::load_root() {
  if (tree_.node) return {};
  if (tree_.inline_page) {
    tree_.node = tx_.node_of(PageView(tree_.inline_page));
    return {};
  }
  ASSIGN_OR_RETURN(const PageView page, tx_.store_->load(tree_.root, tx_.source_.hwm));
  tree_.node = tx_.node_of(page);
  return {};
}

Result<> Bucket::load_child(Node& parent, size_t index, std::optional<std::string_view> to) {
  Entry& e = parent.entries[index];
  if (e.node) return {};
  KeyRange range{e.key(), to};
  if (index + 1 < parent.entries.size()) range.to = parent.entries[index + 1].key();
  ASSIGN_OR_RETURN(const PageView page, tx_.store_->load(PageId(e.child), tx_.source_.hwm, range));
  e.node = tx_.node_of(page);
  return {};
}

Result<> Bucket::descend(std::string_view key) {
  TRY(load_root());
  path_.clear();
  Node* node = tree_.node;
  bool rightmost = true;
  std::optional<std::string_view> to;
  while (!node->leaf) {
    if (path_.size() == kDepthMax)
      return tx_.store_->corruption(
          fmt::format("the tree below page {} is deeper than {} levels", tree_.root, kDepthMax));
    const size_t i = node->child_index(key);
    if (i + 1 < node->entries.size()) to = node->entries[i + 1].key();
    TRY(load_child(*node, i, to));
    rightmost = rightmost && i + 1 == node->entries.size();
    path_.push_back({node, static_cast<uint32_t>(i)});
    node = node->entries[i].node;
  }
  path_.push_back({node, static_cast<uint32_t>(node->lower_bound(key))});
  right_edge_ = rightmost ? node : nullptr;
  return {};
}

// Halves the node at path_[level], which is too long; its parents in turn. Ends path_.
void Bucket::split_path(size_t level) {
  Node& lower = *path_[level].node;
  Node& upper = *tx_.new_node(lower.leaf);
  const auto middle = lower.entries.begin() + static_cast<ptrdiff_t>(lower.entries.size() / 2);
  upper.entries.assign(middle, lower.entries.end());
  lower.entries.erase(middle, lower.entries.end());
  lower.modified = upper.modified = true;
  right_edge_ = nullptr;
  const Entry up = Entry::branch(upper.entries.front().key(), PageId(), &upper);
  if (level == 0) {
    Node& top = *tx_.new_node(false);
    top.modified = true;
    top.entries = {Entry::branch(lower.entries.front().key(), lower.page, &lower), up};
    tree_.node = &top;
    return;
  }
  Node& parent = *path_[level - 1].node;
  parent.entries.insert(parent.entries.begin() + path_[level - 1].index + 1, up);
  parent.modified = true;
  if (parent.entries.size() > kNodeEntriesMax) split_path(level - 1);
}

Result<> Bucket::put_item(std::string_view key, std::string_view value, uint32_t flags, bool copy) {
  TRY(check_key(key));
  if (value.size() > kValueBytesMax) return Error(Code::kInvalidArgument, "value too large");
  if (right_edge_ && !right_edge_->entries.empty() && key > right_edge_->entries.back().key()) {
    if (copy) key = tx_.keep(key), value = tx_.keep(value);
    right_edge_->entries.push_back(Entry::item(key, value, flags));
    right_edge_->modified = true;
    changed();
    return {};
  }
  TRY(descend(key));
  Node& leaf = *path_.back().node;
  const size_t i = path_.back().index;
  if (copy) value = tx_.keep(value);
  if (i < leaf.entries.size() && leaf.entries[i].key() == key) {
    if (leaf.entries[i].flags != flags) return Error(Code::kInvalidArgument, "incompatible value");
    leaf.entries[i] = Entry::item(leaf.entries[i].key(), value, flags);
  } else {
    if (copy) key = tx_.keep(key);
    const bool at_end = i == leaf.entries.size();
    leaf.entries.insert(leaf.entries.begin() + static_cast<ptrdiff_t>(i), Entry::item(key, value, flags));
    if (!at_end && leaf.entries.size() > kNodeEntriesMax) split_path(path_.size() - 1);
  }
  leaf.modified = true;
  changed();
  return {};
}

Result<> Bucket::put(std::string_view key, std::string_view value) {
  return put_item(key, value, 0, true);
}
Result<> Bucket::put_ref(std::string_view key, std::string_view value) {
  return put_item(key, value, 0, false);
}

Result<> Bucket::erase(std::string_view key) {
  Cursor cursor = read_cursor();
  ASSIGN_OR_RETURN(const bool found, cursor.seek(key));
  if (!found || cursor.key() != key) return {};
  if (cursor.is_bucket()) return Error(Code::kInvalidArgument, "incompatible value");
  return erase_item(key);
}

Result<> Bucket::erase_item(std::string_view key) {
  TRY(descend(key));
  Node& leaf = *path_.back().node;
  const size_t i = path_.back().index;
  CHECK(i < leaf.entries.size() && leaf.entries[i].key() == key);
  leaf.entries.erase(leaf.entries.begin() + static_cast<ptrdiff_t>(i));
  leaf.modified = leaf.unbalanced = true;
  changed();
  return {};
}

Cursor Bucket::read_cursor() const {
  return Cursor(tx_.source_, tree_);
}

Result<std::optional<std::string_view>> Bucket::get(std::string_view key) const {
  Cursor cursor = read_cursor();
  ASSIGN_OR_RETURN(const bool found, cursor.seek(key));
  if (!found || cursor.key() != key || cursor.is_bucket()) return std::optional<std::string_view>();
  return std::optional(cursor.value());
}

void Bucket::set_sequence(uint64_t sequence) {
  sequence_ = sequence;
  changed();
}

void Bucket::set_fill_percent(double fill) {
  fill_ = std::clamp(fill, 0.1, 1.0);
}

// ---- Bucket: nested buckets ----

Result<Bucket*> Bucket::bucket(std::string_view name) {
  if (const auto it = open_.find(name); it != open_.end()) return it->second.get();
  Cursor cursor = read_cursor();
  ASSIGN_OR_RETURN(const bool found, cursor.seek(name));
  if (!found || cursor.key() != name || !cursor.is_bucket()) return static_cast<Bucket*>(nullptr);
  // Copied, so that an inline bucket's page image does not depend on the item staying as it is.
  const std::string_view value = tx_.keep(cursor.value());
  const BucketHeader header = BucketHeader::read(value);
  TreeRef tree{header.root, nullptr, nullptr};
  if (header.root == PageId()) tree.inline_page = value.data() + kBucketHeaderBytes;
  return open_.emplace(std::string(name), new Bucket(tx_, tree, header.sequence)).first->second.get();
}

Result<Bucket*> Bucket::create_bucket(std::string_view name) {
  if (name.empty()) return Error(Code::kInvalidArgument, "bucket name required");
  ASSIGN_OR_RETURN(Bucket* const there, bucket(name));
  if (there) return there;
  TRY(put_item(tx_.keep(name), {kEmptyInlineBucket, sizeof kEmptyInlineBucket}, kItemBucket, false));
  return bucket(name);
}

Result<> Bucket::delete_bucket(std::string_view name) {
  ASSIGN_OR_RETURN(Bucket* const b, bucket(name));
  if (!b) return Error(Code::kNotFound, "bucket not found");
  TRY(b->free_all(1));
  const auto it = open_.find(name);
  const std::string key = it->first;  // `name` may be a view into what goes now
  open_.erase(it);
  return erase_item(key);
}

// Gives back every page of this bucket and of the buckets in it.
Result<> Bucket::free_all(size_t depth) {
  if (depth > kDepthMax)
    return tx_.store_->corruption(
        fmt::format("page {}: buckets are nested deeper than {} levels", tree_.root, kDepthMax));
  Cursor cursor = read_cursor();
  std::vector<std::string> nested;
  ASSIGN_OR_RETURN(bool more, cursor.first());
  while (more) {
    if (cursor.is_bucket()) nested.emplace_back(cursor.key());
    ASSIGN_OR_RETURN(more, cursor.next());
  }
  for (const std::string& name : nested) {
    ASSIGN_OR_RETURN(Bucket* const b, bucket(name));
    CHECK(b != nullptr);
    TRY(b->free_all(depth + 1));
  }
  open_.clear();
  if (tree_.node) return free_node(*tree_.node, 0);
  if (tree_.inline_page) return {};
  return free_page(tree_.root, 0);
}

Result<> Bucket::free_node(Node& node, size_t depth) {
  if (node.page != PageId()) tx_.free_page_run(node.page, node.page_count);
  if (node.leaf) return {};
  for (const Entry& e : node.entries) {
    if (e.node) {
      TRY(free_node(*e.node, depth + 1));
    } else {
      TRY(free_page(PageId(e.child), depth + 1));
    }
  }
  return {};
}

Result<> Bucket::free_page(PageId id, size_t depth) {
  if (depth == kDepthMax)
    return tx_.store_->corruption(
        fmt::format("the tree below page {} is deeper than {} levels", tree_.root, kDepthMax));
  if (tx_.freed_.size() > tx_.source_.hwm.v)  // a damaged file's pages name each other; this would not end
    return tx_.store_->corruption(fmt::format("page {}: more pages freed than the file has", id));
  ASSIGN_OR_RETURN(const PageView page, tx_.store_->peek(id, tx_.source_.hwm));
  tx_.free_page_run(id, uint64_t{page.overflow()} + 1);
  if (page.leaf()) return {};
  for (size_t i = 0; i < page.count(); ++i) TRY(free_page(page.child(i), depth + 1));
  return {};
}

// ---- WriteCursor ----

WriteCursor::WriteCursor(Bucket& bucket)
    : bucket_(&bucket), version_(bucket.version_), cursor_(bucket.tx_.source_, bucket.tree_) {}

void WriteCursor::check_current() const {
  CHECK(version_ == bucket_->version_, "the bucket changed behind its cursor");
}

Result<bool> WriteCursor::first() {
  check_current();
  return cursor_.first();
}
Result<bool> WriteCursor::seek(std::string_view key) {
  check_current();
  return cursor_.seek(key);
}
Result<bool> WriteCursor::next() {
  check_current();
  return cursor_.next();
}

Result<bool> WriteCursor::erase() {
  check_current();
  CHECK(valid());
  if (is_bucket()) return Error(Code::kInvalidArgument, "incompatible value");
  auto& stack = cursor_.stack_;
  TRY(bucket_->load_root());
  stack[0].node = cursor_.tree_.node = bucket_->tree_.node;
  for (size_t i = 1; i < stack.size(); ++i) {
    if (stack[i].node) continue;
    Node& parent = *stack[i - 1].node;
    TRY(bucket_->load_child(parent, stack[i - 1].index));
    stack[i].node = parent.entries[stack[i - 1].index].node;
  }
  Cursor::Frame& top = stack.back();
  Node& leaf = *top.node;
  leaf.entries.erase(leaf.entries.begin() + top.index);
  leaf.modified = leaf.unbalanced = true;
  bucket_->changed();
  version_ = bucket_->version_;
  if (top.index < leaf.entries.size()) return true;
  return cursor_.forward_from_leaf_end();
}

}  // namespace quoin::bolt
