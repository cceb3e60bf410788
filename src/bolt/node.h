// A writer's copy of one page: its items as views, children included where they were changed too.
//
// Keys and values point into the mapping (pages of the base commit are not written while the transaction
// runs), into the transaction's Arena, or into bytes the caller keeps (put_ref). Nodes live as long as the
// transaction. A branch entry's key is the child's first key as of the time it was read; for a changed child
// the true one is the child's own first key, and the entry is rewritten at commit. Searching stays right
// meanwhile: only the first child may hold keys below its entry, and a search below all entries goes there.
// Threads: the file thread.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "bolt/format.h"

namespace quoin::bolt {

struct Node;

struct Entry {
  const char* key_data = nullptr;
  union {
    const char* value_data;  // of a leaf entry
    Node* node;              // of a branch entry: the changed child, or null
  };
  uint32_t key_bytes = 0;
  uint32_t value_bytes = 0;
  uint64_t child = 0;  // of a branch entry: the child's page, 0 if it has none yet
  uint32_t flags = 0;

  Entry() : value_data(nullptr) {}
  static Entry item(std::string_view key, std::string_view value, uint32_t flags) {
    Entry e;
    e.set_key(key);
    e.value_data = value.data();
    e.value_bytes = static_cast<uint32_t>(value.size());
    e.flags = flags;
    return e;
  }
  static Entry branch(std::string_view key, PageId child, Node* node) {
    Entry e;
    e.set_key(key);
    e.node = node;
    e.child = child.v;
    return e;
  }
  void set_key(std::string_view key) {
    key_data = key.data();
    key_bytes = static_cast<uint32_t>(key.size());
  }
  std::string_view key() const { return {key_data, key_bytes}; }
  std::string_view value() const { return {value_data, value_bytes}; }
  uint64_t payload(bool leaf) const { return leaf ? uint64_t{key_bytes} + value_bytes : key_bytes; }
};

struct Node {
  explicit Node(bool is_leaf) : leaf(is_leaf) {}

  bool leaf;
  bool modified = false;    // differs from its page (children apart)
  bool unbalanced = false;  // lost entries: may be due for a merge
  bool merged = false;      // a branch that took over children of another: they may be due for a merge now
  PageId page;              // the page it was read from; 0: none
  uint64_t page_count = 0;  // with overflow
  std::vector<Entry> entries;

  uint64_t bytes() const {
    uint64_t payload = 0;
    for (const Entry& e : entries) payload += e.payload(leaf);
    return node_bytes(entries.size(), payload);
  }
  // As PageView's methods of these names.
  size_t lower_bound(std::string_view key) const {
    return static_cast<size_t>(
        std::lower_bound(entries.begin(), entries.end(), key,
                         [](const Entry& e, std::string_view k) { return e.key() < k; }) -
        entries.begin());
  }
  size_t child_index(std::string_view key) const {
    const auto above = std::upper_bound(entries.begin(), entries.end(), key,
                                        [](std::string_view k, const Entry& e) { return k < e.key(); });
    return above == entries.begin() ? 0 : static_cast<size_t>(above - entries.begin()) - 1;
  }
};

// Memory that is given back all at once.
class Arena {
 public:
  char* allocate(size_t bytes) {
    if (bytes > left_) {
      if (bytes > kBlockBytes / 4) {
        large_.push_back(std::make_unique_for_overwrite<char[]>(bytes));
        return large_.back().get();
      }
      blocks_.push_back(std::make_unique_for_overwrite<char[]>(kBlockBytes));
      next_ = blocks_.back().get();
      left_ = kBlockBytes;
    }
    char* p = next_;
    next_ += bytes;
    left_ -= bytes;
    return p;
  }
  std::string_view copy(std::string_view bytes) {
    if (bytes.empty()) return {};
    char* p = allocate(bytes.size());
    std::memcpy(p, bytes.data(), bytes.size());
    return {p, bytes.size()};
  }

 private:
  static constexpr size_t kBlockBytes = 256 << 10;
  std::vector<std::unique_ptr<char[]>> blocks_, large_;
  char* next_ = nullptr;
  size_t left_ = 0;
};

}  // namespace quoin::bolt
