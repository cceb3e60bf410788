#include "base/check.h"
#include "bolt/node.h"
#include "bolt/read_tx.h"
#include "bolt/store.h"

namespace quoin::bolt {

bool Cursor::Frame::leaf() const {
  return node ? node->leaf : page.leaf();
}
size_t Cursor::Frame::count() const {
  return node ? node->entries.size() : page.count();
}
std::string_view Cursor::Frame::key() const {
  return node ? node->entries[index].key() : page.key(index);
}

std::optional<std::string_view> Cursor::Frame::next_key() const {
  if (index + 1u >= count()) return std::nullopt;
  return node ? node->entries[index + 1].key() : page.key(index + 1);
}

std::string_view Cursor::key() const {
  CHECK(valid());
  return stack_.back().key();
}

std::string_view Cursor::value() const {
  CHECK(valid());
  const Frame& f = stack_.back();
  return f.node ? f.node->entries[f.index].value() : f.page.value(f.index);
}

bool Cursor::is_bucket() const {
  CHECK(valid());
  const Frame& f = stack_.back();
  return (f.node ? f.node->entries[f.index].flags : f.page.item_flags(f.index)) == kItemBucket;
}

Result<> Cursor::push_root() {
  stack_.clear();
  Frame f;
  if (tree_.node) {
    f.node = tree_.node;
  } else if (tree_.inline_page) {
    f.page = PageView(tree_.inline_page);
  } else {
    ASSIGN_OR_RETURN(f.page, source_.store->load(tree_.root, source_.hwm));
  }
  stack_.push_back(f);
  return {};
}

Result<> Cursor::push_child() {
  if (stack_.size() == kDepthMax) {
    stack_.clear();
    return source_.store->corruption(
        fmt::format("the tree below page {} is deeper than {} levels", tree_.root, kDepthMax));
  }
  const Frame& top = stack_.back();
  Frame f;
  PageId child;
  KeyRange range;
  if (top.node) {
    const Entry& e = top.node->entries[top.index];
    f.node = e.node;
    child = PageId(e.child);
    range.from = e.key();
  } else {
    child = top.page.child(top.index);
    range.from = top.page.branch_key(top.index);
  }
  if (!f.node) {
    // The next separator; of the last child, that of the nearest ancestor which has one.
    for (size_t level = stack_.size(); level > 0 && !range.to; --level)
      range.to = stack_[level - 1].next_key();
    auto page = source_.store->load(child, source_.hwm, range);
    if (!page) {
      stack_.clear();
      return std::move(page).error();
    }
    f.page = *page;
  }
  stack_.push_back(f);
  return {};
}

Result<bool> Cursor::descend_first() {
  while (!stack_.back().leaf()) {
    stack_.back().index = 0;
    TRY(push_child());
  }
  stack_.back().index = 0;
  if (stack_.back().count() > 0) return true;
  return forward_from_leaf_end();
}

Result<bool> Cursor::descend_last() {
  while (!stack_.back().leaf()) {
    stack_.back().index = static_cast<uint32_t>(stack_.back().count() - 1);
    TRY(push_child());
  }
  const size_t n = stack_.back().count();
  if (n == 0) return backward_from_leaf_start();
  stack_.back().index = static_cast<uint32_t>(n - 1);
  return true;
}

// Leaves a leaf at its end, and any writer's leaf that was emptied on the way.
Result<bool> Cursor::forward_from_leaf_end() {
  stack_.pop_back();
  while (!stack_.empty()) {
    Frame& f = stack_.back();
    if (f.index + 1u >= f.count()) {
      stack_.pop_back();
      continue;
    }
    ++f.index;
    TRY(push_child());
    while (!stack_.back().leaf()) {
      stack_.back().index = 0;
      TRY(push_child());
    }
    stack_.back().index = 0;
    if (stack_.back().count() > 0) return true;
    stack_.pop_back();
  }
  return false;
}

Result<bool> Cursor::backward_from_leaf_start() {
  stack_.pop_back();
  while (!stack_.empty()) {
    Frame& f = stack_.back();
    if (f.index == 0) {
      stack_.pop_back();
      continue;
    }
    --f.index;
    TRY(push_child());
    while (!stack_.back().leaf()) {
      stack_.back().index = static_cast<uint32_t>(stack_.back().count() - 1);
      TRY(push_child());
    }
    if (const size_t n = stack_.back().count(); n > 0) {
      stack_.back().index = static_cast<uint32_t>(n - 1);
      return true;
    }
    stack_.pop_back();
  }
  return false;
}

Result<bool> Cursor::first() {
  TRY(push_root());
  return descend_first();
}

Result<bool> Cursor::last() {
  TRY(push_root());
  return descend_last();
}

Result<bool> Cursor::seek(std::string_view key) {
  TRY(push_root());
  while (!stack_.back().leaf()) {
    Frame& f = stack_.back();
    f.index = static_cast<uint32_t>(f.node ? f.node->child_index(key) : f.page.child_index(key));
    TRY(push_child());
  }
  Frame& f = stack_.back();
  f.index = static_cast<uint32_t>(f.node ? f.node->lower_bound(key) : f.page.lower_bound(key));
  if (f.index < f.count()) return true;
  return forward_from_leaf_end();
}

Result<bool> Cursor::next() {
  CHECK(valid());
  Frame& f = stack_.back();
  if (++f.index < f.count()) [[likely]]
    return true;
  return forward_from_leaf_end();
}

Result<bool> Cursor::prev() {
  CHECK(valid());
  Frame& f = stack_.back();
  if (f.index > 0) [[likely]] {
    --f.index;
    return true;
  }
  return backward_from_leaf_start();
}

}  // namespace quoin::bolt
