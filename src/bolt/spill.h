// Turns the changed nodes of a transaction into pages: merges what became small, cuts what became long, gives
// every changed node and its ancestors new pages, and frees the old ones (copy on write). Children come
// before parents and nested buckets before the bucket that names them, since a parent holds its child's page
// number.
//
// Rules kept (spec storage-formats 1.11): every branch entry's key is the first key of its child; leaves
// below a branch are not empty; branches have two children or more; a root branch with one child goes.
// Threads: the file thread. One use.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "bolt/commit_plan.h"
#include "bolt/freelist.h"
#include "bolt/write_tx.h"

namespace quoin::bolt {

class Spiller {
 public:
  // plan->meta starts as the new meta with the base's root and HWM; root and HWM are brought up to date.
  Spiller(WriteTx& tx, Freelist& freelist, bool readers_open, CommitPlan* plan);

  // kCorruption if a page met on the way is damaged.
  Result<> run();
  // A run of pages for this commit. The caller fills all of its bytes.
  PageWrite& allocate(uint64_t count);

 private:
  // One page of what a node was cut into: the branch entry that will name it.
  struct Piece {
    std::string_view first_key;
    PageId page;
  };

  // What a node or page holds.
  struct Extent {
    size_t items = 0;
    uint64_t bytes = 0;  // header included
  };

  Result<> spill_nested(Bucket& bucket);
  Result<bool> spill_bucket(Bucket& bucket, bool may_inline);  // answers whether its header changed
  std::string_view header_value(Bucket& bucket);
  bool fits_inline(const Node& node) const;

  Result<> rebalance(Bucket& bucket, Node& branch);
  Result<> merge_children(Bucket& bucket, Node& branch);
  Result<Extent> extent_of(Bucket& bucket, Node& branch, size_t index);
  bool worth_joining(const Extent& a, const Extent& b, bool leaf, double fill) const;
  Result<> merge_into_left(Bucket& bucket, Node& left, Node& node);
  void discard(Node& node);
  Result<> collapse_root(Bucket& bucket);

  Result<> spill_node(Node& node, double fill, std::vector<Piece>* pieces);
  Result<> spill_children(Node& branch, double fill);
  static bool in_order(double fill) { return fill >= kFillSequential; }
  size_t cut(const Node& node, size_t begin, uint64_t remaining, double fill) const;
  size_t cut_densely(const Node& node, size_t begin) const;
  PageId write_node(const Node& node, size_t begin, size_t end);

  WriteTx& tx_;
  Freelist& freelist_;
  const bool readers_open_;
  CommitPlan& plan_;
  const uint32_t page_size_;
};

// Writes a page image (header, elements, keys, values) of entries [begin, end) to `p`, which has room.
void encode_node(const Node& node, size_t begin, size_t end, PageHeader header, char* p);

}  // namespace quoin::bolt
