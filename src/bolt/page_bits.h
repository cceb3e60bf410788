// One bit a page, for sets that are as large as the file and mostly in runs.
//
// Threads: as the owner. Memory: one bit for each page up to the highest one ever set, and what a vector
// keeps in reserve.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"

namespace quoin::bolt {

class PageBits {
 public:
  bool test(PageId id) const { return id.v / 64 < words_.size() && (words_[id.v / 64] >> (id.v % 64) & 1); }
  void set(PageId id) {
    if (id.v / 64 >= words_.size()) words_.resize(id.v / 64 + 1);
    words_[id.v / 64] |= uint64_t{1} << (id.v % 64);
  }
  void clear(PageId id) {
    if (id.v / 64 < words_.size()) words_[id.v / 64] &= ~(uint64_t{1} << (id.v % 64));
  }
  // The first set bit at or after `from`.
  std::optional<PageId> next_set(PageId from) const;
  // The last set bit at or before `from`.
  std::optional<PageId> prev_set(PageId from) const;
  // Clears all bits from `end` on and gives their memory back.
  void cut(PageId end);
  // Bits [64 * i, 64 * i + 64), the lowest page's first.
  uint64_t word(uint64_t i) const { return i < words_.size() ? words_[i] : 0; }

 private:
  std::vector<uint64_t> words_;
};

}  // namespace quoin::bolt
