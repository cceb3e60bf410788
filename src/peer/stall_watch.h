// Whether a socket takes nothing of what waits for it. Asked now and then.
#pragma once
#include <cstdint>

#include "io/clock.h"

namespace quoin::peer {

class StallWatch {
 public:
  // `sent`: bytes the socket has taken so far; `waiting`: more wait. True once nothing was taken for `bound_ns`.
  bool stalled(io::MonotonicNs now, uint64_t sent, bool waiting, int64_t bound_ns) {
    if (!waiting || sent != sent_ || since_ == 0) {
      sent_ = sent;
      since_ = waiting ? now : 0;
      return false;
    }
    return now - since_ >= bound_ns;
  }

 private:
  uint64_t sent_ = 0;
  io::MonotonicNs since_ = 0;  // 0: nothing waited when last asked
};

}  // namespace quoin::peer
