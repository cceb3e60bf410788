// Latencies in bounded memory: count, sum, extremes, and the value at any rank of their sorted order.
//
// Up to kExactMax of them are kept as they are, and every answer is exact. Beyond that they are counted in buckets of a
// 2048th of their value, so a value that is asked for is wrong by 0.05 % at most; count, sum, deviation, the smallest and
// the largest stay exact. Memory: 1 MiB, or 0.6 MiB of buckets.
//
// Threads: none. Units: nanoseconds; negative ones count as 0, those of kLongest or more (4.8 hours) as kLongest in
// ranks.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quoin::cmd::bench {

class Latencies {
 public:
  static constexpr size_t kExactMax = 1 << 17;
  static constexpr unsigned kSubBits = 11;  // buckets of a power of two
  static constexpr int64_t kLongest = (int64_t{1} << 44) - 1;

  void add(int64_t ns) {
    ns = std::max<int64_t>(ns, 0);
    if (count_ == 0) {
      first_ = smallest_ = largest_ = ns;
    } else {
      smallest_ = std::min(smallest_, ns);
      largest_ = std::max(largest_, ns);
    }
    ++count_;
    const auto d = static_cast<__int128>(ns) - first_;
    offsets_ += d;
    squares_ += d * d;
    if (buckets_.empty()) [[likely]] {
      if (exact_.size() < kExactMax) [[likely]] {
        exact_.push_back(ns);
        return;
      }
      spill();
    }
    ++buckets_[bucket_of(ns)];
  }

  uint64_t count() const { return count_; }
  // Of none: 0.
  int64_t smallest() const { return smallest_; }
  int64_t largest() const { return largest_; }
  double average_ns() const;
  double deviation_ns() const;  // of the whole, not of a sample

  bool exact() const { return buckets_.empty(); }
  // The values at these ranks, which ascend and are below count().
  std::vector<int64_t> at_ranks(std::span<const uint64_t> ranks) const;
  // Calls visit(value, how many) in ascending order; exact values one by one, buckets by their middle.
  template <class Visit>
  void for_each(Visit visit) const {
    if (exact()) {
      sort();
      for (const int64_t v : exact_) visit(v, uint64_t{1});
      return;
    }
    for (size_t i = 0; i < buckets_.size(); ++i) {
      if (buckets_[i] != 0) visit(std::clamp(middle_of(i), smallest_, largest_), buckets_[i]);
    }
  }

  static size_t bucket_of(int64_t ns) {
    const auto v = static_cast<uint64_t>(std::min(ns, kLongest));
    if (v >> kSubBits == 0) return static_cast<size_t>(v);
    const auto shift = static_cast<unsigned>(std::bit_width(v)) - kSubBits - 1;
    return (size_t{shift} << kSubBits) + static_cast<size_t>(v >> shift);
  }
  static int64_t middle_of(size_t bucket);

 private:
  void spill();
  void sort() const;

  uint64_t count_ = 0;
  int64_t first_ = 0, smallest_ = 0, largest_ = 0;
  // Sums of the distances from the first value, which keep the deviation precise where it is small.
  __int128 offsets_ = 0, squares_ = 0;
  mutable std::vector<int64_t> exact_;
  std::vector<uint64_t> buckets_;  // empty: all are in exact_
};

}  // namespace quoin::cmd::bench
