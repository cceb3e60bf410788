// Reading a bolt file as of one commit.
//
// A ReadTx is an immutable view of the file as the commit it was opened on left it. While it lives none of
// its pages is reused, so keys and values are handed out as views into the mapping and stay valid as long as
// the ReadTx does.
//
// Threads: a ReadTx and BucketViews may be used by any number of threads at once; the last reference may be
// dropped on any thread. A Cursor belongs to one thread at a time.
// Lifetime: BucketView, Cursor and all bytes end with the ReadTx; they do not keep it alive. A ReadTx may
// outlive its Db (it keeps file and mapping open).
// Errors: kCorruption names file, page and what is wrong with it. A page is checked when it is first read and
// then known to be sound, so an error can appear at any step of a walk, once and for good.
#pragma once
#include <absl/container/inlined_vector.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "bolt/format.h"

namespace quoin::bolt {

class Store;
class ReaderTable;
struct Node;

// Where the pages of one transaction come from: the file, and the high-water mark no id may reach.
struct PageSource {
  const Store* store = nullptr;
  PageId hwm;
};

// The top of one bucket's tree.
struct TreeRef {
  PageId root;                        // 0: inline
  const char* inline_page = nullptr;  // page image of an inline bucket
  Node* node = nullptr;               // a writer's own state, when there is one
};

// Walks the items of one bucket in key order. Starts nowhere: call first(), last() or seek() before all else.
// The walking calls answer whether they found an item; past either end the cursor is nowhere again.
class Cursor {
 public:
  Cursor(PageSource source, TreeRef tree) : source_(source), tree_(tree) {}

  Result<bool> first();
  Result<bool> last();
  // The first item with a key >= `key`.
  Result<bool> seek(std::string_view key);
  Result<bool> next();
  Result<bool> prev();

  bool valid() const { return !stack_.empty(); }
  // Of the item it stands on (CHECK valid). The value of a nested bucket is its raw header and page.
  std::string_view key() const;
  std::string_view value() const;
  bool is_bucket() const;

 private:
  friend class WriteCursor;
  // One level of the path: a page of the file, or a writer's node in its place.
  struct Frame {
    PageView page;
    Node* node = nullptr;
    uint32_t index = 0;

    bool leaf() const;
    size_t count() const;
    std::string_view key() const;
    std::optional<std::string_view> next_key() const;  // of the entry after; empty at the end
  };
  Result<> push_root();
  Result<> push_child();  // of the top frame's index
  Result<bool> descend_first();
  Result<bool> descend_last();
  Result<bool> forward_from_leaf_end();
  Result<bool> backward_from_leaf_start();

  PageSource source_;
  TreeRef tree_;
  absl::InlinedVector<Frame, 8> stack_;
};

// Where in the tree the last get() of a caller ended, so that the next one need not begin at the root if its
// key stands on the same leaf. Belongs to one caller, one bucket and one ReadTx (or to none yet).
struct LeafHint {
  const char* leaf = nullptr;
  size_t index = 0;
};

class BucketView {
 public:
  BucketView(PageSource source, TreeRef tree, uint64_t sequence)
      : source_(source), tree_(tree), sequence_(sequence) {}

  // Empty if there is no such key, or a nested bucket stands there.
  Result<std::optional<std::string_view>> get(std::string_view key) const { return get(key, nullptr); }
  // The same; `hint` (may be null) tells where to look first and learns where the key was.
  Result<std::optional<std::string_view>> get(std::string_view key, LeafHint* hint) const;
  // The same for up to kGroupMax keys; value i goes to out[i]. Faster than one by one where the keys' pages are
  // not in the processor's cache: the ways to them overlap.
  static constexpr size_t kGroupMax = 16;
  Result<> get_group(std::span<const std::string_view> keys, std::optional<std::string_view>* out) const;
  // The nested bucket of this name; empty if there is none.
  Result<std::optional<BucketView>> bucket(std::string_view name) const;
  // Items and nested buckets alike.
  Cursor cursor() const { return Cursor(source_, tree_); }
  uint64_t sequence() const { return sequence_; }
  bool is_inline() const { return tree_.root == PageId(); }
  PageId root() const { return tree_.root; }

 private:
  PageSource source_;
  TreeRef tree_;
  uint64_t sequence_;
};

class ReadTx {
 public:
  // Use Db::begin_read().
  ReadTx(std::shared_ptr<const Store> store, std::shared_ptr<ReaderTable> readers, const Meta& meta);
  ~ReadTx();
  ReadTx(const ReadTx&) = delete;
  ReadTx& operator=(const ReadTx&) = delete;

  // The bucket that holds the top-level buckets.
  BucketView root() const;
  // A top-level bucket; empty if there is none of this name.
  Result<std::optional<BucketView>> bucket(std::string_view name) const { return root().bucket(name); }
  // Shorthand: the value of `key` in top-level bucket `bucket`; empty if either is missing.
  Result<std::optional<std::string_view>> get(std::string_view bucket, std::string_view key) const;

  const Meta& meta() const { return meta_; }
  TxId txid() const { return meta_.txid; }
  // Bytes up to the high-water mark: what etcd calls the database size.
  uint64_t size_bytes() const { return meta_.hwm.v * meta_.page_size; }
  const Store& store() const { return *store_; }

 private:
  std::shared_ptr<const Store> store_;
  std::shared_ptr<ReaderTable> readers_;
  const Meta meta_;
};

}  // namespace quoin::bolt
