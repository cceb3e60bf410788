// Time, as an interface: sim's clock is virtual, drifts and jumps.
//
// Threads: both methods may be called on any thread.
#pragma once
#include <cstdint>

namespace quoin::io {

// Nanoseconds on a clock that never goes back; only differences mean anything.
using MonotonicNs = int64_t;
// Nanoseconds since 1970-01-01 UTC.
using WallNs = int64_t;

constexpr int64_t kMicrosecond = 1'000;
constexpr int64_t kMillisecond = 1'000'000;
constexpr int64_t kSecond = 1'000'000'000;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonotonicNs monotonic() const = 0;
  virtual WallNs wall() const = 0;
};

}  // namespace quoin::io
