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

std::optional<PageId> PageBits::prev_set(PageId from) const {
  if (words_.empty()) return std::nullopt;
  size_t i = words_.size() - 1;
  uint64_t word = words_[i];
  if (from.v / 64 <= i) {
    i = from.v / 64;
    word = words_[i] & (~uint64_t{0} >> (63 - from.v % 64));
  }
  while (word == 0) {
    if (i == 0) return std::nullopt;
    word = words_[--i];
  }
  return PageId(i * 64 + 63 - static_cast<uint64_t>(std::countl_zero(word)));
}

void PageBits::cut(PageId end) {
  const size_t words = (end.v + 63) / 64;
  if (words < words_.size()) {
    words_.resize(words);
    words_.shrink_to_fit();
  }
  if (end.v % 64 != 0 && words == words_.size()) words_[words - 1] &= ~(~uint64_t{0} << (end.v % 64));
}

}  // namespace quoin::bolt
