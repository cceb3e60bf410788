#include "cmd/benchmark/seconds.h"

#include <fmt/format.h>

#include <algorithm>

#include "posix/log_duration.h"

namespace quoin::cmd::bench {

void Seconds::add(int64_t unix_ns, int64_t latency_ns) {
  constexpr int64_t kSecond = 1'000'000'000;
  const int64_t second = unix_ns / kSecond;
  if (seconds_.empty()) seconds_.push_back({.unix_second = second});
  // What began first may end last.
  if (const int64_t first = seconds_.front().unix_second; second < first) {
    const size_t missing = std::min(static_cast<size_t>(first - second), kSecondsMax - seconds_.size());
    std::vector<Second> before(missing);
    for (size_t i = 0; i < missing; ++i) {
      before[i].unix_second = first - static_cast<int64_t>(missing) + static_cast<int64_t>(i);
    }
    seconds_.insert(seconds_.begin(), before.begin(), before.end());
  }
  const int64_t behind = std::max<int64_t>(second - seconds_.front().unix_second, 0);
  const size_t at = std::min(static_cast<size_t>(behind), kSecondsMax - 1);
  while (seconds_.size() <= at) {
    seconds_.push_back({.unix_second = seconds_.back().unix_second + 1});
  }
  Second& s = seconds_[at];
  if (s.count == 0) {
    s.smallest_ns = s.largest_ns = latency_ns;
  } else {
    if (latency_ns != 0) s.smallest_ns = std::min(s.smallest_ns, latency_ns);
    s.largest_ns = std::max(s.largest_ns, latency_ns);
  }
  s.sum_ns += latency_ns;
  ++s.count;
}

std::string Seconds::text() const {
  std::string out =
      "\nSample in one second (unix latency throughput):\n"
      "UNIX-SECOND,MIN-LATENCY-MS,AVG-LATENCY-MS,MAX-LATENCY-MS,AVG-THROUGHPUT\n";
  for (const Second& s : seconds_) {
    out += fmt::format("{},{},{},{},{}\n", s.unix_second, posix::duration_text(s.smallest_ns),
                       posix::duration_text(s.average_ns()), posix::duration_text(s.largest_ns), s.count);
  }
  return out;
}

}  // namespace quoin::cmd::bench
