// A set of pages that answers which is its lowest run of n pages, at a cost that does not grow with the
// number of shorter runs below it.
//
// A binary tree stands over blocks of 512 pages. Each node knows the longest run within its pages and the
// runs at its two ends; so one way down finds the run, and one way up keeps the tree true. What set() and
// clear() changed is brought into the tree by the next search, each changed block once.
//
// Threads: as the owner. Memory: page_bits.h, and 24 to 48 bytes for each 512 pages.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "bolt/page_bits.h"

namespace quoin::bolt {

class PageRuns {
 public:
  bool test(PageId id) const { return bits_.test(id); }
  void set(PageId id);
  void clear(PageId id);
  // The first page of the set at or after `from`.
  std::optional<PageId> next_set(PageId from) const { return bits_.next_set(from); }
  // Where the lowest `count` pages in a row begin (count > 0).
  std::optional<PageId> lowest_run(uint64_t count);
  // Tree nodes and words of bits looked at by searches so far: what they cost, for tests.
  uint64_t steps() const { return steps_; }

 private:
  static constexpr uint64_t kBlockPages = 512;
  static constexpr uint64_t kBlockWords = kBlockPages / 64;
  // Of the pages below one node.
  struct Runs {
    uint32_t first = 0;  // length of the run that begins with the first page; 0: that page is not in the set
    uint32_t last = 0;   // length of the run that ends with the last page
    uint32_t longest = 0;  // of all
  };
  void note(PageId id);
  void bring_up_to_date();
  Runs of_block(uint64_t block);
  void join(uint64_t node, uint64_t pages_of_child);
  PageId lowest_in_block(uint64_t block, uint64_t count);

  PageBits bits_;
  uint64_t blocks_ = 0;     // leaves of the tree, a power of two; 0: no tree yet
  std::vector<Runs> tree_;  // node 1 is the root, the children of n are 2n and 2n + 1, block b is blocks_ + b
  std::vector<uint64_t> changed_;  // blocks, each once
  std::vector<bool> is_changed_;   // by block
  uint64_t steps_ = 0;
};

}  // namespace quoin::bolt
