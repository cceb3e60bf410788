#include "posix/clock.h"

#include <time.h>

namespace quoin::posix {
namespace {
int64_t read_clock(clockid_t id) {
  timespec ts;
  clock_gettime(id, &ts);
  return ts.tv_sec * io::kSecond + ts.tv_nsec;
}
}  // namespace

io::MonotonicNs SystemClock::monotonic() const {
  return read_clock(CLOCK_MONOTONIC);
}
io::WallNs SystemClock::wall() const {
  return read_clock(CLOCK_REALTIME);
}
}  // namespace quoin::posix
