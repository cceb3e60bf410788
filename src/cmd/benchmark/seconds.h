// What happened in each second of a run: `--sample`.
//
// Threads: none. Bound: kSecondsMax seconds; what begins later counts in the last one.
// Source: etcd's pkg/report/timeseries.go; spec cli 11.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace quoin::cmd::bench {

struct Second {
  int64_t unix_second = 0;
  int64_t smallest_ns = 0, largest_ns = 0, sum_ns = 0;
  uint64_t count = 0;
  int64_t average_ns() const { return count == 0 ? 0 : sum_ns / static_cast<int64_t>(count); }
};

class Seconds {
 public:
  static constexpr size_t kSecondsMax = 1'000'000;

  // An operation that began at `unix_ns`.
  void add(int64_t unix_ns, int64_t latency_ns);
  // From the first to the last, with those in which nothing began.
  const std::vector<Second>& all() const { return seconds_; }
  // The heading and the table of comma-separated values.
  std::string text() const;

 private:
  std::vector<Second> seconds_;
};

}  // namespace quoin::cmd::bench
