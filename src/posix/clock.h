// The machine's clocks.
#pragma once
#include "io/clock.h"

namespace quoin::posix {

class SystemClock final : public io::Clock {
 public:
  io::MonotonicNs monotonic() const override;
  io::WallNs wall() const override;
};

}  // namespace quoin::posix
