#include "bolt/page_bits.h"

#include <bit>

namespace quoin::bolt {

std::optional<PageId> PageBits::next_set(PageId from) const {
  size_t i = from.v / 64;
  if (i >= words_.size()) return std::nullopt;
  uint64_t word = words_[i] & (~uint64_t{0} << (from.v % 64));
  while (word == 0) {
    if (++i == words_.size()) return std::nullopt;
    word = words_[i];
  }
  return PageId(i * 64 + static_cast<uint64_t>(std::countr_zero(word)));
}

uint64_t PageBits::run_length(PageId first, uint64_t limit) const {
  uint64_t n = 0;
  while (n < limit && test(first + n)) ++n;
  return n;
}

}  // namespace quoin::bolt
