// Keeps what others cause from filling the log: at most kLinesMax lines a second, the rest is counted and told with
// the next line. Threads: the owner's.
#pragma once
#include <cstdint>
#include <optional>
#include <utility>

#include "io/clock.h"

namespace quoin::server {

class LineLimit {
 public:
  static constexpr int kLinesMax = 10;

  // None: not this one. Else how many were kept back since the last line.
  std::optional<uint64_t> line(io::MonotonicNs now) {
    if (now - second_ >= io::kSecond) {
      second_ = now;
      lines_ = 0;
    }
    if (lines_ == kLinesMax) {
      ++kept_back_;
      return std::nullopt;
    }
    ++lines_;
    return std::exchange(kept_back_, 0);
  }

 private:
  io::MonotonicNs second_ = 0;
  int lines_ = 0;
  uint64_t kept_back_ = 0;
};

}  // namespace quoin::server
