// Reading the key index: which keys there are, and how many.
//
// Threads: an IndexRef is plain pointers. On the apply strand it may be the working version, and then holds
// until the index changes next. Other threads read through an IndexView, which keeps its version from being
// freed and may be shared; when the last reference goes (on any thread) it is marked as closed. `head` below
// is the revision that the version was published (or taken) at; it says which of the keys' revisions the
// counts in the nodes stand for.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>

#include "mvcc/change_log.h"
#include "mvcc/index_node.h"
#include "mvcc/key_entry.h"
#include "mvcc/key_range.h"
#include "mvcc/reclaimer.h"

namespace quoin::mvcc {

constexpr int kTreeDepthMax = 16;

struct IndexStorage;

struct IndexRef {
  const Node* root = nullptr;
  LogRef log;

  // The entry of `key`, alive or not; null if the index does not know the key.
  const KeyEntry* find(std::string_view key) const;
  // The newest node of `key` with main <= revision if that is a put, else null.
  const RevisionNode* find_live(std::string_view key, int64_t revision) const;
  // Number of keys below `key` that live at `head`.
  int64_t live_below(std::string_view key, int64_t head) const;
  int64_t live_total(int64_t head) const;
  // True if count() at `revision` needs no walk.
  bool counts_at(int64_t revision, int64_t head) const { return revision == head || log.reaches(revision); }
  // Number of keys in `range` that live at `revision` <= head.
  int64_t count(const KeyRange& range, int64_t revision, int64_t head) const;

 private:
  int64_t walk(const KeyRange& range, int64_t revision) const;
};

// Entries in key order, from the first one that is not below `from`.
class IndexCursor {
 public:
  // live_only: pass over parts of the tree in which no key lives at the version's head.
  IndexCursor(const IndexRef& index, std::string_view from, bool live_only = false);
  bool valid() const { return leaf_ != nullptr; }
  const KeyEntry& entry() const { return *leaf_->entries[slot_]; }
  void next() {
    if (++slot_ == leaf_->size) next_leaf();
  }
  // True if the entry lies before the end of `range`, which must be the same at each call. Compares only the last
  // key of a leaf that lies before the end as a whole.
  bool before_end(const KeyRange& range) {
    if (leaf_ == inside_ || range.open_ended()) return true;
    if (leaf_ != asked_) {
      asked_ = leaf_;
      if (range.before_end(leaf_->entries[leaf_->size - 1]->key())) {
        inside_ = leaf_;
        return true;
      }
    }
    return range.before_end(entry().key());
  }

 private:
  void descend(const Node* node);
  void next_leaf();
  void enter(const Leaf& leaf);

  const Inner* nodes_[kTreeDepthMax];
  int at_[kTreeDepthMax];
  int depth_ = 0;
  const Leaf* leaf_ = nullptr;
  const Leaf* inside_ = nullptr;  // all of its keys lie before the end
  const Leaf* asked_ = nullptr;   // whether they do is known
  int slot_ = 0;
  const bool live_only_;
};

class IndexView {
 public:
  // `pin` may be null: a view of the working version, for the apply strand.
  IndexView(std::shared_ptr<const IndexStorage> storage, std::shared_ptr<Pin> pin, const IndexRef& ref)
      : storage_(std::move(storage)), pin_(std::move(pin)), ref_(ref) {}
  ~IndexView() {
    if (pin_) pin_->close();
  }
  IndexView(const IndexView&) = delete;
  IndexView& operator=(const IndexView&) = delete;
  const IndexRef& ref() const { return ref_; }

 private:
  const std::shared_ptr<const IndexStorage> storage_;
  const std::shared_ptr<Pin> pin_;
  const IndexRef ref_;
};

}  // namespace quoin::mvcc
