// Who waits for the outcome of which proposal.
//
// A waiter is registered on its loop before the proposal leaves, and taken by whoever ends it first: apply
// (the entry was applied), raft (the proposal was refused) or expire() (the request timeout passed). It is
// called back on its executor, exactly once.
//
// Threads: any; sixteen shards, each with its own lock, held for a few map operations.
// Bound: the server admits no proposal while 5,000 entries are committed and not applied, and a connection
// bounds its calls in progress; a waiter is about 100 bytes.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <array>
#include <atomic>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "io/clock.h"
#include "server/answers.h"

namespace quoin::server {

class Waiters {
 public:
  void add(uint64_t id, Waiter waiter);
  // Empty if nobody waits (any more).
  std::optional<Waiter> take(uint64_t id);
  // False also for one that was given up.
  bool waiting(uint64_t id) const;
  // Nobody asks for the outcome any more. What `done` holds is kept until the outcome is there, since the
  // proposal costs as much as before: a call's reference tells its connection of that. `done` itself is not
  // called. A patient one is dropped at once: its outcome may never come. True if it was a proposal that now
  // counts as failed: neither one that nobody waited for nor a patient one, as in etcd.
  bool give_up(uint64_t id);
  // Takes every waiter registered before `limit`, but no patient one; those given up are dropped.
  std::vector<Waiter> expire(io::MonotonicNs limit);
  // Takes all; later add() calls still work.
  std::vector<Waiter> take_all();
  // Without those given up.
  size_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kShards = 16;
  static constexpr size_t kLingerMax = 64;
  struct Shard {
    mutable std::mutex mutex;
    absl::flat_hash_map<uint64_t, Waiter> waiters;  // guarded by mutex
    // Guarded by mutex. Without the patient ones. Taken ids linger here.
    std::deque<std::pair<io::MonotonicNs, uint64_t>> by_age;
  };
  Shard& shard(uint64_t id) { return shards_[id % kShards]; }
  const Shard& shard(uint64_t id) const { return shards_[id % kShards]; }
  std::array<Shard, kShards> shards_;
  std::atomic<size_t> size_{0};
};

}  // namespace quoin::server
