// Which pages are the first of an allocation: one bit a page, for the branch and leaf pages of the newest
// commit. A page between two firsts that the run of the first one does not reach is free, holds a saved
// freelist, or has not been met yet.
//
// It is filled from what is met anyway (the walk of an open, the pages a commit writes) and, for buckets
// nested below the top level of a file with a saved freelist, whose leaves no open reads, by the search that
// wants to know (owner.h). Once set, a bit is kept true by every commit: pages it frees are cleared, pages it
// writes are set, and what lies behind a lowered high-water mark is forgotten.
//
// Threads: the file thread. Memory: a bit for each page below the high-water mark (page_bits.h): 32 MiB for a
// file of 1 TiB.
// Source: design.md section 5 ("bolt").
#pragma once
#include <cstdint>
#include <optional>

#include "bolt/page_bits.h"

namespace quoin::bolt {

class PageMap {
 public:
  // A tree names `id`, so an allocation begins there.
  void note_first(PageId id) { firsts_.set(id); }
  void freed(PageId first, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) firsts_.clear(first + i);
  }
  // After the high-water mark went down.
  void cut(PageId hwm) { firsts_.cut(hwm); }

  bool known_first(PageId id) const { return firsts_.test(id); }
  // The known first page next to `id`, not counting `id`: the one below it, the one above it.
  std::optional<PageId> first_below(PageId id) const {
    return id.v == 0 ? std::nullopt : firsts_.prev_set(id - 1);
  }
  std::optional<PageId> first_above(PageId id) const { return firsts_.next_set(id + 1); }

 private:
  PageBits firsts_;
};

}  // namespace quoin::bolt
