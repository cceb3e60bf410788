// Changing a bolt file: one transaction at a time.
//
// Changes are made to nodes in memory, copies of the pages they touch; nothing reaches the file before
// Db::commit. Dropping a WriteTx without committing forgets it.
//
// Threads: confined to the file thread.
// Lifetime: Bucket pointers belong to the WriteTx and live as long as it does (a deleted bucket's pointer
// ends with delete_bucket). Bytes handed out end with the WriteTx or with the next change of the same bucket.
// put() copies key and value; put_ref() keeps views and the caller keeps the bytes until commit() has
// returned (not until the commit is durable).
// Errors: kInvalidArgument  bolt's texts: "key required", "key too large", "value too large",
//                           "incompatible value" (bucket where an item is meant or the other way round)
//         kCorruption       a page met is damaged; the transaction can only be dropped
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "bolt/format.h"
#include "bolt/read_tx.h"

namespace quoin::bolt {

class Arena;
class WriteTx;
class Spiller;

constexpr double kFillDefault = 0.5;
constexpr double kFillSequential = 0.9;

// Walks a bucket with the transaction's own changes, and deletes on the way. Any change of the bucket other
// than through this cursor ends it (CHECK).
class WriteCursor {
 public:
  Result<bool> first();
  Result<bool> seek(std::string_view key);
  Result<bool> next();
  bool valid() const { return cursor_.valid(); }
  std::string_view key() const { return cursor_.key(); }
  std::string_view value() const { return cursor_.value(); }
  bool is_bucket() const { return cursor_.is_bucket(); }
  // Deletes the item it stands on (kInvalidArgument on a nested bucket) and moves to the one after it;
  // answers whether there is one. Cheap for many deletes in ascending order: nothing is searched again.
  Result<bool> erase();

 private:
  friend class Bucket;
  explicit WriteCursor(class Bucket& bucket);
  void check_current() const;
  class Bucket* bucket_;
  uint64_t version_;
  Cursor cursor_;
};

class Bucket {
 public:
  // Makes or replaces. Ascending keys take a short way: behind the last key no search is made.
  Result<> put(std::string_view key, std::string_view value);
  // The same without copying; see the head of this file.
  Result<> put_ref(std::string_view key, std::string_view value);
  // Missing keys are fine.
  Result<> erase(std::string_view key);
  // Empty if there is no such key, or a nested bucket stands there.
  Result<std::optional<std::string_view>> get(std::string_view key) const;
  WriteCursor cursor() { return WriteCursor(*this); }
  // A cursor that only reads and can go both ways; any change of the bucket ends it.
  Cursor read_cursor() const;

  // Null if there is none of this name.
  Result<Bucket*> bucket(std::string_view name);
  // Made if it is missing.
  Result<Bucket*> create_bucket(std::string_view name);
  // With all that is in it. kNotFound ("bucket not found") if there is none.
  Result<> delete_bucket(std::string_view name);

  uint64_t sequence() const { return sequence_; }
  void set_sequence(uint64_t sequence);
  // How full pages are made when a node is split at commit; clamped to 0.1 .. 1. Not stored in the file. With
  // kFillSequential or more leaves are filled completely, for buckets whose keys only ever ascend (spill.cc).
  void set_fill_percent(double fill);

 private:
  friend class WriteTx;
  friend class WriteCursor;
  friend class Spiller;
  struct Step {
    Node* node;
    uint32_t index;
  };

  Bucket(WriteTx& tx, TreeRef tree, uint64_t sequence) : tx_(tx), tree_(tree), sequence_(sequence) {}
  Result<> check_key(std::string_view key) const;
  Result<> put_item(std::string_view key, std::string_view value, uint32_t flags, bool copy);
  Result<> load_root();
  // `to` bounds the keys below the last child, where the caller knows it.
  Result<> load_child(Node& parent, size_t index, std::optional<std::string_view> to = std::nullopt);
  // Makes nodes of all pages from the root to the leaf that `key` belongs to; path_ holds them.
  Result<> descend(std::string_view key);
  void split_path(size_t level);
  Result<> erase_item(std::string_view key);
  Result<> free_all(size_t depth);
  Result<> free_node(Node& node, size_t depth);
  Result<> free_page(PageId id, size_t depth);
  void changed();

  WriteTx& tx_;
  TreeRef tree_;
  uint64_t sequence_;
  double fill_ = kFillDefault;
  bool dirty_ = false;
  uint64_t version_ = 0;        // of the items; cursors compare it
  Node* right_edge_ = nullptr;  // the last leaf, when the last descent ended there
  std::vector<Step> path_;
  std::map<std::string, std::unique_ptr<Bucket>, std::less<>> open_;  // nested buckets in use, by name
};

class WriteTx {
 public:
  ~WriteTx();
  WriteTx(const WriteTx&) = delete;
  WriteTx& operator=(const WriteTx&) = delete;

  TxId txid() const { return txid_; }
  // Whether a commit would write more than a meta page.
  bool changed() const { return changed_; }

  // The bucket that holds the top-level buckets (only buckets may be put there by etcd's schema).
  Bucket& root() { return *root_; }
  Result<Bucket*> bucket(std::string_view name) { return root_->bucket(name); }
  Result<Bucket*> create_bucket(std::string_view name) { return root_->create_bucket(name); }
  Result<> delete_bucket(std::string_view name) { return root_->delete_bucket(name); }

 private:
  friend class Db;
  friend class Bucket;
  friend class WriteCursor;
  friend class Spiller;
  WriteTx(std::shared_ptr<const Store> store, const Meta& base, std::shared_ptr<bool> open);

  Node* new_node(bool leaf);
  // A copy of a page, or of an inline bucket's page image.
  Node* node_of(PageView page);
  void free_page_run(PageId first, uint64_t count) { freed_.push_back({first, count}); }
  // Copies into memory that lives as long as the transaction.
  std::string_view keep(std::string_view bytes);

  std::shared_ptr<const Store> store_;
  Meta base_;
  TxId txid_;
  PageSource source_;
  bool changed_ = false;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<std::deque<Node>> nodes_;
  std::vector<PageRun> freed_;  // pages this transaction no longer needs
  std::unique_ptr<Bucket> root_;
  std::shared_ptr<bool> open_;  // the Db's "a transaction is open"
};

}  // namespace quoin::bolt
