// What a page of the file is used for and, of a branch or leaf page, who names it: the bucket it belongs to
// and its place in that bucket's tree. Pages do not name their parent. The owner is found by a search for the
// page's first key: in the tree that holds the page, the search passes through it.
//
// Cost of a search: a descent for each bucket of the top level (etcd has ten), the bucket of the answer
// before it first. Only a file that nests buckets deeper, which etcd's never does, may need more: its leaves
// are read to find them, in steps.
//
// Threads: the file thread, and not while a commit runs (CHECK); a WriteTx may be open, and the answer tells
// of the commit it started from. A search that is continued after a commit starts anew, because its findings
// may no longer be true.
// Lifetime: the Db outlives the search. An answer stays true until the next commit.
// Errors: kCorruption       the page's content contradicts the trees, or a page met on the way is damaged
//         kInvalidArgument  no such page: at or above the high-water mark
//         kUnsupported      the database is open for reading only: which pages are free was not looked up
// Source: design.md section 5 ("bolt").
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bolt/read_tx.h"

namespace quoin::bolt {

class Db;

enum class PageUse {
  kMeta,
  kFreelist,  // of a saved list, all its pages
  kFree,
  kPending,  // freed, but an open view or the meta before needs it
  kTree,     // a branch or leaf page
  kInside,   // one of a branch or leaf page's overflow pages; ask for `first`
};

struct PageOwner {
  PageUse use = PageUse::kFree;
  PageId first;             // of the allocation it belongs to; the page itself where it is free or pending
  uint64_t page_count = 1;  // of that allocation
  // ---- of kTree only ----
  std::vector<std::string> bucket;  // names from the top level down; empty: the root bucket
  PageId parent;                    // the branch page that names it; 0: it is the root page of `bucket`
  uint32_t slot = 0;                // its element there
  std::string first_key;            // empty for the empty page of a bucket without items
};

// The buckets of a file that have pages of their own: the root bucket, those of the top level, then those
// nested below. Valid until the next commit.
class BucketWalk {
 public:
  struct Stop {
    std::vector<std::string> names;
    BucketView bucket;
  };
  BucketWalk(const Store& store, const Meta& meta);
  // The next bucket; empty at the end, or when *pages_left is used up.
  Result<std::optional<Stop>> next(uint64_t* pages_left);
  bool finished() const { return stage_ == Stage::kEnd; }

 private:
  enum class Stage { kRoot, kTop, kNested, kEnd };
  struct Level {
    std::string name;  // empty: the root
    BucketView bucket;
    Cursor cursor;
  };
  Result<> push(std::string name, BucketView bucket);
  Result<std::optional<Stop>> next_nested(uint64_t* pages_left);
  std::vector<std::string> names() const;
  // More buckets than pages: a damaged file where they hold each other.
  Result<> count_bucket();

  const Store& store_;
  const PageId hwm_;
  const BucketView root_;
  uint64_t buckets_ = 0;  // met so far
  Stage stage_ = Stage::kRoot;
  std::vector<Level> stack_;
};

class OwnerSearch {
 public:
  // Empty: not found yet, ask again. Looks at `pages_max` pages or a few more.
  Result<std::optional<PageOwner>> step(uint64_t pages_max = 1000);

 private:
  friend class Db;
  // A branch page whose children are being put into the map.
  struct Branch {
    PageView page;
    size_t next = 0;
    size_t levels_below = 0;
  };
  OwnerSearch(Db& db, PageId page) : db_(db), page_(page) {}

  void begin();
  Result<std::optional<PageOwner>> without_tree();
  Result<std::optional<PageOwner>> try_last_bucket();
  Result<std::optional<PageOwner>> try_bucket(const BucketWalk::Stop& stop);
  Result<uint64_t> pages_of(PageId first) const;
  Result<> begin_learning(PageId root);
  Result<> learn(uint64_t* pages_left);
  Result<> learn_page(PageId id);
  Error nobody() const;

  Db& db_;
  const PageId page_;
  TxId txid_;  // of the commit it looks at; 0: none yet
  std::optional<BucketWalk> walk_;
  std::optional<BucketWalk::Stop> learning_;  // its pages go into the map
  std::vector<Branch> branches_;
  uint64_t learned_ = 0;  // pages; in a damaged file trees may be without end
};

}  // namespace quoin::bolt
