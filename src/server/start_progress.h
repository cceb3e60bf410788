// Lines that tell that a long start goes on: reading the store, hashing it, defragmenting it may each take
// minutes, and whoever waits must be able to tell that from a start that hangs.
//
// Threads: confined to the caller's. Lifetime: log and clock outlive it.
#pragma once
#include <string_view>

#include "base/log.h"
#include "io/clock.h"

namespace quoin::server {

class StartProgress {
 public:
  static constexpr int64_t kIntervalNs = 10 * io::kSecond;

  // `step`: what the member is doing, as the lines say it.
  StartProgress(std::string_view step, log::Logger& log, io::Clock& clock)
      : step_(step), log_(log), clock_(clock), began_(clock.monotonic()), told_(began_) {}
  // Logs, if the last line is long enough ago; call it as often as you like. `revision` 0: not known.
  void goes_on(int64_t revision = 0) {
    const io::MonotonicNs now = clock_.monotonic();
    if (now - told_ < kIntervalNs) return;
    told_ = now;
    LOG(log_, kInfo, "the start goes on", {"step", step_}, {"revision", revision},
        {"took", log::Duration{now - began_}});
  }

 private:
  const std::string_view step_;
  log::Logger& log_;
  io::Clock& clock_;
  const io::MonotonicNs began_;
  io::MonotonicNs told_;
};

}  // namespace quoin::server
