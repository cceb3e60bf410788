#include "cmd/benchmark/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace quoin::cmd::bench {

std::string progress_line(uint64_t done, uint64_t expected, int64_t elapsed_ns) {
  constexpr uint64_t kWidth = 30;
  const double seconds = static_cast<double>(std::max<int64_t>(elapsed_ns, 1)) / 1e9;
  const std::string speed = fmt::format("{:.0f}/s  {:.0f}s", static_cast<double>(done) / seconds, seconds);
  if (expected == 0) return fmt::format("  {}  {}", done, speed);
  const double part = std::min(1.0, static_cast<double>(done) / static_cast<double>(expected));
  const auto filled = static_cast<size_t>(part * kWidth);
  std::string bar(kWidth, ' ');
  std::fill_n(bar.begin(), filled, '=');
  if (filled < kWidth) bar[filled] = '>';
  return fmt::format("  {}/{} [{}] {:3.0f}%  {}", done, expected, bar, part * 100, speed);
}

void Progress::show(uint64_t done, uint64_t expected, io::MonotonicNs now) {
  if (!shown_) return;
  any_ = true;
  fmt::print(stderr, "\r{}\x1b[K", progress_line(done, expected, now - began_));
  std::fflush(stderr);
}

Progress::~Progress() {
  if (any_) fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
}

}  // namespace quoin::cmd::bench
