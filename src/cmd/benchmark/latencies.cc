#include "cmd/benchmark/latencies.h"

#include <cmath>

namespace quoin::cmd::bench {

double Latencies::average_ns() const {
  if (count_ == 0) return 0;
  const auto n = static_cast<long double>(count_);
  return static_cast<double>(static_cast<long double>(first_) + static_cast<long double>(offsets_) / n);
}

double Latencies::deviation_ns() const {
  if (count_ == 0) return 0;
  const auto n = static_cast<long double>(count_);
  const long double mean = static_cast<long double>(offsets_) / n;
  const long double variance = static_cast<long double>(squares_) / n - mean * mean;
  return variance <= 0 ? 0 : static_cast<double>(std::sqrt(variance));
}

// Buckets below 2^(kSubBits + 1) hold one value each.
int64_t Latencies::middle_of(size_t bucket) {
  const size_t row = bucket >> kSubBits;
  if (row <= 1) return static_cast<int64_t>(bucket);
  const auto shift = static_cast<unsigned>(row - 1);
  const auto low = static_cast<int64_t>((bucket - (size_t{shift} << kSubBits)) << shift);
  return low + ((int64_t{1} << shift) - 1) / 2;
}

void Latencies::spill() {
  buckets_.resize(bucket_of(kLongest) + 1);
  for (const int64_t v : exact_) ++buckets_[bucket_of(v)];
  exact_ = std::vector<int64_t>();
}

void Latencies::sort() const {
  if (!std::is_sorted(exact_.begin(), exact_.end())) std::sort(exact_.begin(), exact_.end());
}

std::vector<int64_t> Latencies::at_ranks(std::span<const uint64_t> ranks) const {
  std::vector<int64_t> out;
  if (exact()) {
    sort();
    for (const uint64_t r : ranks) out.push_back(exact_[r]);
    return out;
  }
  uint64_t passed = 0;
  for_each([&](int64_t value, uint64_t how_many) {
    passed += how_many;
    while (out.size() < ranks.size() && ranks[out.size()] < passed) out.push_back(value);
  });
  return out;
}

}  // namespace quoin::cmd::bench
