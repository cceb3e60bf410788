// The line that shows on a terminal how far a run is; nothing if standard error is none.
//
// Threads: one.
#pragma once
#include <cstdint>
#include <string>

#include "io/clock.h"

namespace quoin::cmd::bench {

class Progress {
 public:
  static constexpr int64_t kEveryNs = 200 * io::kMillisecond;
  // Begins at `now`, in a terminal if `shown`.
  Progress(io::MonotonicNs now, bool shown) : began_(now), shown_(shown) {}
  // Clears the line.
  ~Progress();
  Progress(const Progress&) = delete;
  void show(uint64_t done, uint64_t expected, io::MonotonicNs now);

 private:
  const io::MonotonicNs began_;
  const bool shown_;
  bool any_ = false;
};

// "  4321/10000 [=======>       ]  43%  12345/s  3s"; without `expected`: "  4321  12345/s  3s".
std::string progress_line(uint64_t done, uint64_t expected, int64_t elapsed_ns);

}  // namespace quoin::cmd::bench
