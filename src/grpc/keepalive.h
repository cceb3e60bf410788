// Keepalive, both ways: what a client's pings may cost, and when a silent client is asked and given up.
// Rules: spec api-semantics 1.2; gRPC's A8 and A9. Pure: time is passed in.
#pragma once
#include <cstdint>

#include "io/clock.h"

namespace quoin::grpc {

// Counts pings that come too often. A client's frames of headers or data sent to it wipe the strikes.
class PingPolice {
 public:
  static constexpr int kStrikesMax = 2;
  static constexpr int64_t kIdleMinTimeNs = 7'200 * io::kSecond;   // between pings without a stream
  static constexpr int64_t kDefaultMinTimeNs = 300 * io::kSecond;  // gRPC's own, when no policy is set

  explicit PingPolice(int64_t min_time_ns)
      : min_time_ns_(min_time_ns > 0 ? min_time_ns : kDefaultMinTimeNs) {}
  void on_progress_sent() { forgive_ = true; }
  // False: one ping too many.
  bool on_ping(io::MonotonicNs now, bool has_streams) {
    const io::MonotonicNs last = last_;
    const bool first = !seen_;
    last_ = now;
    seen_ = true;
    if (forgive_) {
      forgive_ = false;
      strikes_ = 0;
      return true;
    }
    const int64_t least = has_streams ? min_time_ns_ : kIdleMinTimeNs;
    if (!first && now - last < least) ++strikes_;
    return strikes_ <= kStrikesMax;
  }

 private:
  const int64_t min_time_ns_;
  io::MonotonicNs last_ = 0;
  int strikes_ = 0;
  bool seen_ = false;
  bool forgive_ = false;
};

// When to ping a client that says nothing.
class Keepalive {
 public:
  enum class Action : uint8_t { kNone, kPing, kGiveUp };

  Keepalive(int64_t interval_ns, int64_t timeout_ns, io::MonotonicNs now)
      : interval_ns_(interval_ns), timeout_ns_(timeout_ns), last_read_(now) {}
  void on_read(io::MonotonicNs now) {
    last_read_ = now;
    pinged_ = false;
  }
  io::MonotonicNs next() const {
    if (interval_ns_ <= 0) return INT64_MAX;
    return pinged_ ? pinged_at_ + timeout_ns_ : last_read_ + interval_ns_;
  }
  Action tick(io::MonotonicNs now) {
    if (now < next()) return Action::kNone;
    if (pinged_) return Action::kGiveUp;
    pinged_ = true;
    pinged_at_ = now;
    return Action::kPing;
  }

 private:
  const int64_t interval_ns_, timeout_ns_;
  io::MonotonicNs last_read_;
  io::MonotonicNs pinged_at_ = 0;
  bool pinged_ = false;
};

}  // namespace quoin::grpc
