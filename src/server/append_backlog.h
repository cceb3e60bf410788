// What waits for the log: proposals on their way to raft, and batches that raft has handed to the append
// stage and that are not known to be durable. A disk that is slow or stuck shows here, since the append
// thread itself can't tell while it sits in fdatasync.
//
// Bound: kBytesMax. At the bound admit() refuses, and the client is told "too many requests", as it is by
// etcd when the state machine falls behind. What the member proposes by itself is small and is not refused.
//
// Threads: admit(), admitted_ended() and the figures on any thread; the rest on the raft strand.
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "io/clock.h"
#include "raft/types.h"

namespace quoin::server {

class AppendBacklog {
 public:
  static constexpr uint64_t kBytesMax = 256 << 20;
  // What an entry costs beside its data, while it is queued and in raft's log.
  static constexpr uint64_t kEntryOverhead = 128;
  // A batch that waits for longer is reported in the log, and again after each further interval.
  static constexpr int64_t kStuckNs = 2 * io::kSecond;
  static constexpr int64_t kTellEveryNs = 5 * io::kSecond;

  AppendBacklog(io::Clock& clock, log::Logger& log, metrics::Registry& metrics);

  // Charges a proposal of this many bytes of data; false at the bound. What was admitted is given back by
  // admitted_ended() once raft has handed it to the log or refused it.
  bool admit(uint64_t data_bytes);
  void admitted_ended(uint64_t proposals, uint64_t data_bytes);

  // A batch goes to the append stage; batches become durable in the same order.
  void handed(const std::vector<raft::Entry>& entries);
  void durable();
  // At each tick: tells of a stuck disk and of refusals.
  void watch();

  uint64_t bytes() const {
    return admitted_.load(std::memory_order_relaxed) + handed_.load(std::memory_order_relaxed);
  }
  uint64_t batches() const { return batches_.load(std::memory_order_relaxed); }
  // How long the oldest batch has waited; 0 if there is none.
  int64_t oldest_wait_ns() const;

 private:
  struct Batch {
    io::MonotonicNs since;
    uint64_t bytes;
  };
  io::Clock& clock_;
  log::Logger& log_;
  std::deque<Batch> waiting_;
  std::optional<io::MonotonicNs> told_stuck_, told_refused_;
  uint64_t refused_told_ = 0;
  std::atomic<uint64_t> admitted_{0}, handed_{0}, batches_{0};
  std::atomic<io::MonotonicNs> oldest_{0};  // 0: none
  metrics::Counter& refused_;
};

}  // namespace quoin::server
