// Ids of requests, ReadIndex rounds, configuration changes and generated leases: unique across members and
// restarts, because a member answers whatever entry carries an id that somebody here waits for.
//
// Form: the low 16 bits of the member id on top, then a 48-bit counter that starts at Unix milliseconds *
// 256. Threads: any. Source: spec raft-and-peers 26.
#pragma once
#include <atomic>
#include <cstdint>

#include "base/ids.h"
#include "io/clock.h"

namespace quoin::server {

class RequestIds {
 public:
  RequestIds(MemberId member, io::WallNs now)
      : prefix_(member.v << 48),
        counter_(((static_cast<uint64_t>(now / io::kMillisecond) & ((uint64_t{1} << 40) - 1)) << 8)) {}
  uint64_t next() {
    return prefix_ | ((counter_.fetch_add(1, std::memory_order_relaxed) + 1) & kCounterMask);
  }

 private:
  static constexpr uint64_t kCounterMask = (uint64_t{1} << 48) - 1;
  const uint64_t prefix_;
  std::atomic<uint64_t> counter_;
};

}  // namespace quoin::server
