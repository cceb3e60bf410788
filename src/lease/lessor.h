// Leases: which exist, which keys are attached to them and, on the leader, when they expire.
//
// A lease is a number of seconds and a set of keys. grant(), revoke() and checkpoint() are applied log
// entries and give the same result on every member. Time counts on the primary (the leader) alone: there each
// lease has an expiry, a renewal moves it on, and take_expired() says which ones to propose for revocation;
// nothing is ever revoked by the clock directly. Elsewhere every expiry is "never".
//
// Threads: apply strand only. Renewals and questions reach it by the server's bounded queues and are cheap
// (renew: one look-up), so nothing is published for other threads. Work that grows with the number of leases,
// or with the keys of one lease, can be done in steps: maintain() after a promotion, LeaseList, keys(),
// take_keys().
// Lifetime: clock, backend and deleter outlive the Lessor.
// Units: TTLs are whole seconds; expiries are io::MonotonicNs.
// Errors: kLeaseNotFound, kLeaseExist, kLeaseTtlTooLarge as clients see them; kNotPrimary for what only the
// leader may answer; kCorruption from a stored lease that cannot be read.
// Source: spec api-semantics 4, raft-and-peers 33, storage-formats 2.1 (bucket lease).
#pragma once
#include <absl/container/btree_set.h>
#include <absl/container/flat_hash_map.h>
#include <absl/container/node_hash_map.h>
#include <absl/hash/hash.h>
#include <absl/strings/string_view.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/ids.h"
#include "base/metrics.h"
#include "base/result.h"
#include "io/clock.h"

namespace quoin::lease {

constexpr int64_t kTtlMaxSeconds = 9'000'000'000;

// Deletes the keys of a revoked lease from the store.
class KeyDeleter {
 public:
  virtual ~KeyDeleter() = default;
  // All in one revision, in this order (ascending). The lessor has detached them already; a detach() from
  // here is harmless.
  virtual void delete_keys(std::span<const std::string> keys) = 0;
};

struct Options {
  int64_t min_ttl_s = 2;  // see min_ttl_seconds
  // Gate LeaseCheckpoint: the primary hands out checkpoints.
  bool checkpoint = false;
  int64_t checkpoint_interval_ns = 300 * io::kSecond;
};

// ceil(1.5 election timeouts) in seconds, with etcd's integer arithmetic: 3 * ticks / 2 ticks.
int64_t min_ttl_seconds(int64_t election_ticks, int64_t tick_ns);

struct Checkpoint {
  LeaseId id;
  int64_t remaining_ttl_s = 0;
  friend bool operator==(const Checkpoint&, const Checkpoint&) = default;
};

struct Renewal {
  enum class Kind : uint8_t {
    kRenewed,          // ttl_s is the new time to live
    kExpired,          // to be revoked soon: the answer waits for that (when_gone)
    kCheckpointFirst,  // propose a checkpoint of 0, then call renew again once it is applied
  };
  Kind kind = Kind::kRenewed;
  int64_t ttl_s = 0;
};

struct LeaseInfo {
  int64_t granted_ttl_s = 0;
  int64_t remaining_s = 0;  // truncated; 0 or negative while revocation is pending
  bool demoted = false;     // this member stopped being primary: remaining_s means nothing
};

// Seeded per process: clients choose the keys.
struct KeyHash {
  using is_transparent = void;
  size_t operator()(std::string_view key) const {
    return absl::Hash<absl::string_view>()(absl::string_view(key.data(), key.size()));
  }
};

class Lessor {
 public:
  Lessor(const Options& options, io::Clock& clock, metrics::Registry& metrics);
  Lessor(const Lessor&) = delete;
  Lessor& operator=(const Lessor&) = delete;

  // Forgets everything and reads the leases of `backend`, which is written to from now on. Attachments come
  // anew from the store. Not primary afterwards.
  Result<> recover(backend::Backend& backend);
  // Takes over the leases of `fresh`, which were read beside this one from another backend and attached by
  // its store; `fresh` gets the old ones. Not primary afterwards: who waits in when_gone() gets kNotPrimary.
  void adopt(Lessor& fresh);
  void set_deleter(KeyDeleter* deleter) { deleter_ = deleter; }

  // ---- applied entries ----
  // The TTL granted: the one asked for, raised to the minimum. kLeaseNotFound for id 0, kLeaseTtlTooLarge
  // (before all else), kLeaseExist.
  Result<int64_t> grant(LeaseId id, int64_t ttl_s);
  // Deletes its keys through the deleter, then the lease; both belong to the entry being applied.
  Result<> revoke(LeaseId id);
  // Remembers the remaining time of a lease, in its record too if `persist` (cluster version >= 3.6 or the
  // gate LeaseCheckpointPersist).
  Result<> checkpoint(const Checkpoint& c, bool persist);

  // ---- attachments, from the store ----
  // A key hangs on one lease at most: an older attachment is replaced. False: no such lease.
  bool attach(LeaseId id, std::string_view key);
  // Detaches the first `max` keys of the lease and returns them, ascending: for a revocation of many keys in
  // steps, which deletes these and calls revoke() when there are no more.
  std::vector<std::string> take_keys(LeaseId id, size_t max);
  // Nothing happens if `key` hangs on another lease or on none.
  void detach(LeaseId id, std::string_view key);
  // 0 if there is none.
  LeaseId lease_of(std::string_view key) const;

  // ---- primary ----
  // Gives every lease its remaining time (the checkpointed rest, or the whole TTL) plus `extend_ns` from now.
  // Of 1000 leases or more at most 750 get to expire within a second. Of many leases the first are done here,
  // the others by maintain(). Until then such a lease has its full time, can be renewed, and does not expire.
  void promote(int64_t extend_ns);
  // Goes on with the promotion, at most `budget` leases of it. True if there is more to do.
  bool maintain(size_t budget);
  // Every expiry becomes "never"; those who wait in when_gone() get kNotPrimary.
  void demote();
  bool primary() const { return primary_; }
  Result<Renewal> renew(LeaseId id) { return renew(id, clock_.monotonic()); }
  // For many at one moment: `now` is the clock's.
  Result<Renewal> renew(LeaseId id, io::MonotonicNs now);
  // Runs `gone` with kLeaseNotFound once the lease is revoked, with kNotPrimary once this member is no longer
  // primary. At once if either holds already.
  void when_gone(LeaseId id, std::function<void(Error)> gone);
  // Up to kExpiredPerCall leases whose time is over, the longest expired first. To be called every
  // kScanInterval. One that is not revoked meanwhile is given again after kRetryInterval.
  std::vector<LeaseId> take_expired();
  // Up to `max` checkpoints that are due, empty unless Options::checkpoint; for one log entry.
  std::vector<Checkpoint> take_checkpoints(size_t max = kCheckpointsPerEntry);

  // What promote() does at once, and take_expired() where nobody calls maintain().
  static constexpr size_t kPromotedPerCall = 2000;
  static constexpr int64_t kScanInterval = 500 * io::kMillisecond;
  static constexpr int64_t kRetryInterval = 3 * io::kSecond;
  static constexpr size_t kExpiredPerCall = 500;
  static constexpr size_t kCheckpointsPerEntry = 1000;

  // ---- questions ----
  bool exists(LeaseId id) const { return leases_.contains(id); }
  std::optional<LeaseInfo> info(LeaseId id) const;
  // How many keys a lease has; 0 if there is no such lease.
  size_t key_count(LeaseId id) const;
  // The lease's keys from `from` on, ascending, at most `max`; none if there is no such lease.
  std::vector<std::string> keys(LeaseId id, std::string_view from = {}, size_t max = SIZE_MAX) const;
  // Those that end first come first. All in one go; see LeaseList.
  std::vector<LeaseId> leases() const;
  size_t size() const { return leases_.size(); }

 private:
  friend class LeaseList;
  static constexpr io::MonotonicNs kNever = INT64_MAX;
  struct Lease {
    int64_t ttl_s = 0;
    int64_t remaining_ttl_s = 0;  // checkpointed; 0: none
    // Valid only if set in the present era. Each promotion and demotion begins a new era, so that no lease
    // has to be visited to make its old expiry invalid.
    uint64_t era = 0;
    io::MonotonicNs expiry = kNever;
    uint32_t slot = 0;  // in slots_
    // Of the live entry in each queue; entries with another serial mean nothing.
    uint64_t expiry_serial = 0;
    uint64_t checkpoint_serial = 0;
    io::MonotonicNs queued_at = kNever;      // of the entry in expiries_
    absl::btree_set<std::string_view> keys;  // bytes in lease_of_
  };
  // A lease has one live entry in expiries_ while this member is primary, at its expiry or earlier. A renewal
  // that moves the expiry back leaves the entry; it finds that out when its time comes, and is put back.
  struct Due {
    io::MonotonicNs at;
    LeaseId id;
    uint64_t serial;
    friend bool operator>(const Due& a, const Due& b) { return a.at != b.at ? a.at > b.at : a.id > b.id; }
  };
  using Order = std::pair<io::MonotonicNs, LeaseId>;
  // A promotion under way: leases are first collected into a heap, by expiry, and then given their expiries
  // in that order.
  struct Promotion {
    io::MonotonicNs from = 0;  // when the remaining times begin
    bool spread = false;
    io::MonotonicNs earliest = 0;  // for the next lease, where they are spread
    size_t next_slot = 0;
    std::vector<Order> heap;  // the first to expire on top
  };
  using Queue = std::priority_queue<Due, std::vector<Due>, std::greater<>>;

  // From now: what a renewal or promotion gives.
  static io::MonotonicNs after_seconds(io::MonotonicNs from, int64_t seconds);
  int64_t rest_s(const Lease& lease) const {
    return lease.remaining_ttl_s > 0 ? lease.remaining_ttl_s : lease.ttl_s;
  }
  io::MonotonicNs expiry_of(const Lease& lease) const;
  // A new lease in its slot.
  Lease& add(LeaseId id);
  void give_expiry(LeaseId id, Lease& lease, io::MonotonicNs at);
  void persist(LeaseId id, const Lease& lease);
  void queue_expiry(LeaseId id, Lease& lease);
  void schedule_checkpoint(LeaseId id, Lease& lease);
  void gone(LeaseId id, const Error& why);

  const Options options_;
  io::Clock& clock_;
  backend::Backend* backend_ = nullptr;
  KeyDeleter* deleter_ = nullptr;
  absl::flat_hash_map<LeaseId, Lease> leases_;
  absl::node_hash_map<std::string, LeaseId, KeyHash, std::equal_to<>> lease_of_;
  // Every lease keeps its place here, so that all leases can be visited in steps. An empty place holds 0.
  std::vector<LeaseId> slots_;
  std::vector<uint32_t> free_slots_;
  bool primary_ = false;
  uint64_t era_ = 1;
  std::optional<Promotion> promotion_;
  uint64_t next_serial_ = 1;
  Queue expiries_, checkpoints_;
  absl::flat_hash_map<LeaseId, std::vector<std::function<void(Error)>>> waiting_;

  metrics::Counter& granted_;
  metrics::Counter& revoked_;
  metrics::Counter& renewed_;
  metrics::Histogram& ttl_;
};

// Lessor::leases() in steps, between which the lessor may change: who exists all the time is listed once.
class LeaseList {
 public:
  // The lessor must outlive the list.
  explicit LeaseList(const Lessor& lessor);
  // Does about `leases_max` leases' work. True when take() has the answer.
  bool step(size_t leases_max);
  std::vector<LeaseId> take() { return std::move(sorted_); }

 private:
  const Lessor& lessor_;
  size_t next_slot_ = 0;
  std::vector<Lessor::Order> heap_;  // the first to end on top
  std::vector<LeaseId> sorted_;
};

}  // namespace quoin::lease
