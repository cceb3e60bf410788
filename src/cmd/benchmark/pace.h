// `--rate`: when each operation is due. Operation k is due k/rate after the first; one that is late goes as soon as a
// client is free, so what a stall held up is made up for, and the mean never passes the rate.
//
// etcd's tool lets late ones fall behind for good (a token bucket of one). With a schedule that stands still while the
// server does, there would be no intended start to measure from.
//
// Threads: none.
#pragma once
#include <cstdint>

#include "io/clock.h"

namespace quoin::cmd::bench {

class Pace {
 public:
  // 0 or less: none.
  explicit Pace(int64_t per_second) : per_second_(per_second) {}
  bool limited() const { return per_second_ > 0; }
  void begin(io::MonotonicNs now) { began_ = now; }
  io::MonotonicNs due(uint64_t k) const {
    const auto rate = static_cast<uint64_t>(per_second_);
    const auto ns = (k / rate) * static_cast<uint64_t>(io::kSecond) +
                    (k % rate) * static_cast<uint64_t>(io::kSecond) / rate;
    return began_ + static_cast<int64_t>(ns);
  }

 private:
  const int64_t per_second_;
  io::MonotonicNs began_ = 0;
};

}  // namespace quoin::cmd::bench
