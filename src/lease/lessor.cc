#include "lease/lessor.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/coding.h"
#include "failpoint/failpoint.h"
#include "wire/lease.h"
#include "wire/message.h"

namespace quoin::lease {
namespace {
// Leases that make a crowd, and how many of them may expire within a second.
constexpr size_t kCrowd = 1000;
constexpr int64_t kExpiriesPerSecond = 750;
// Queue entries one call looks at, so that a crowd of renewed leases cannot hold apply up; the rest comes
// with the next call.
constexpr int kEntriesPerCall = 20'000;

// Closest that two expiries of a crowd may be.
constexpr int64_t kGap = io::kSecond / kExpiriesPerSecond + 1;
// Expiries beyond are not spread: they would leave the clock's range.
constexpr io::MonotonicNs kSpreadMax = std::numeric_limits<io::MonotonicNs>::max() - io::kSecond;

std::string record_key(LeaseId id) {
  return be64(static_cast<uint64_t>(id.v));
}
}  // namespace

int64_t min_ttl_seconds(int64_t election_ticks, int64_t tick_ns) {
  const int64_t ns = 3 * election_ticks / 2 * tick_ns;
  return (ns + io::kSecond - 1) / io::kSecond;
}

Lessor::Lessor(const Options& options, io::Clock& clock, metrics::Registry& metrics)
    : options_(options),
      clock_(clock),
      granted_(metrics.counter("etcd_debugging_lease_granted_total", "Leases granted.")),
      revoked_(metrics.counter("etcd_debugging_lease_revoked_total", "Leases revoked.")),
      renewed_(metrics.counter("etcd_debugging_lease_renewed_total", "Renewals made by the leader.")),
      ttl_(metrics.histogram("etcd_debugging_lease_ttl_total", "Seconds granted to leases.",
                             metrics::exponential_buckets(1, 2, 24))) {}

Result<> Lessor::recover(backend::Backend& backend) {
  demote();
  backend_ = &backend;
  leases_.clear();
  lease_of_.clear();
  slots_.clear();
  free_slots_.clear();
  Result<> damage;
  TRY(backend.scan(backend::Bucket::kLease, {}, {}, [&](std::string_view key, std::string_view value) {
    auto stored = wire::decode<wire::leasepb::Lease>(value);
    if (!stored) {
      damage = make_error(Code::kCorruption, "lease record {}: {}", hex_bytes(key), stored.error().text());
      return false;
    }
    if (!stored->id || leases_.contains(LeaseId(stored->id))) {
      damage = make_error(Code::kCorruption, "lease record {}: id {}", hex_bytes(key), stored->id);
      return false;
    }
    Lease& lease = add(LeaseId(stored->id));
    lease.ttl_s = std::max(stored->ttl, options_.min_ttl_s);
    lease.remaining_ttl_s = stored->remaining_ttl;
    return true;
  }));
  return damage;
}

// ---- applied entries ----

Lessor::Lease& Lessor::add(LeaseId id) {
  Lease& lease = leases_[id];
  if (free_slots_.empty()) {
    lease.slot = static_cast<uint32_t>(slots_.size());
    slots_.push_back(id);
  } else {
    lease.slot = free_slots_.back();
    free_slots_.pop_back();
    slots_[lease.slot] = id;
  }
  return lease;
}

void Lessor::persist(LeaseId id, const Lease& lease) {
  wire::leasepb::Lease stored;
  stored.id = id.v;
  stored.ttl = lease.ttl_s;
  stored.remaining_ttl = lease.remaining_ttl_s;
  backend_->put(backend::Bucket::kLease, record_key(id), wire::encode_string(stored));
}

void Lessor::adopt(Lessor& fresh) {
  demote();
  std::swap(backend_, fresh.backend_);
  leases_.swap(fresh.leases_);
  lease_of_.swap(fresh.lease_of_);
  slots_.swap(fresh.slots_);
  free_slots_.swap(fresh.free_slots_);
  std::swap(expiries_, fresh.expiries_);
  std::swap(checkpoints_, fresh.checkpoints_);
  promotion_.reset();
  // No expiry of an era that either of them knew is valid in the next one.
  era_ = std::max(era_, fresh.era_) + 1;
}

Result<int64_t> Lessor::grant(LeaseId id, int64_t ttl_s) {
  if (!id) return Code::kLeaseNotFound;
  if (ttl_s > kTtlMaxSeconds) return Code::kLeaseTtlTooLarge;
  if (leases_.contains(id)) return Code::kLeaseExist;
  Lease& lease = add(id);
  lease.ttl_s = std::max(ttl_s, options_.min_ttl_s);
  persist(id, lease);
  if (primary_) give_expiry(id, lease, after_seconds(clock_.monotonic(), lease.ttl_s));
  granted_.inc();
  ttl_.observe(static_cast<double>(lease.ttl_s));
  return lease.ttl_s;
}

Result<> Lessor::revoke(LeaseId id) {
  auto it = leases_.find(id);
  if (it == leases_.end()) return Code::kLeaseNotFound;
  const std::vector<std::string> doomed = take_keys(id, SIZE_MAX);
  if (!doomed.empty()) {
    CHECK(deleter_ != nullptr);
    deleter_->delete_keys(doomed);
  }
  slots_[it->second.slot] = LeaseId();
  free_slots_.push_back(it->second.slot);
  leases_.erase(it);
  backend_->erase(backend::Bucket::kLease, record_key(id));
  revoked_.inc();
  gone(id, Error(Code::kLeaseNotFound));
  return {};
}

Result<> Lessor::checkpoint(const Checkpoint& c, bool persist_it) {
  auto it = leases_.find(c.id);
  if (it == leases_.end()) return Code::kLeaseNotFound;
  it->second.remaining_ttl_s = c.remaining_ttl_s;
  if (persist_it) persist(c.id, it->second);
  schedule_checkpoint(c.id, it->second);
  return {};
}

// ---- attachments ----

bool Lessor::attach(LeaseId id, std::string_view key) {
  auto lease = leases_.find(id);
  if (lease == leases_.end()) return false;
  auto [item, fresh] = lease_of_.try_emplace(std::string(key), id);
  if (!fresh) {
    if (item->second == id) return true;
    if (auto older = leases_.find(item->second); older != leases_.end()) older->second.keys.erase(key);
    item->second = id;
  }
  lease->second.keys.insert(item->first);
  return true;
}

void Lessor::detach(LeaseId id, std::string_view key) {
  auto item = lease_of_.find(key);
  if (item == lease_of_.end() || item->second != id) return;
  if (auto lease = leases_.find(id); lease != leases_.end()) lease->second.keys.erase(key);
  lease_of_.erase(item);
}

std::vector<std::string> Lessor::take_keys(LeaseId id, size_t max) {
  std::vector<std::string> taken = keys(id, {}, max);
  if (taken.empty()) return taken;
  auto& held = leases_.at(id).keys;
  auto end = held.begin();
  for (size_t i = 0; i < taken.size(); ++i) ++end;
  held.erase(held.begin(), end);
  for (const std::string& key : taken) lease_of_.erase(lease_of_.find(key));
  return taken;
}

LeaseId Lessor::lease_of(std::string_view key) const {
  auto it = lease_of_.find(key);
  return it == lease_of_.end() ? LeaseId() : it->second;
}

// ---- primary ----

// Up to 285 years are seconds; what lies beyond the clock's range is never.
io::MonotonicNs Lessor::after_seconds(io::MonotonicNs from, int64_t seconds) {
  if (seconds > (kNever - from) / io::kSecond) return kNever;
  return from + seconds * io::kSecond;
}

void Lessor::queue_expiry(LeaseId id, Lease& lease) {
  lease.expiry_serial = next_serial_++;
  lease.queued_at = lease.expiry;
  expiries_.push({lease.expiry, id, lease.expiry_serial});
}

io::MonotonicNs Lessor::expiry_of(const Lease& lease) const {
  if (lease.era == era_) return lease.expiry;
  return promotion_ ? after_seconds(promotion_->from, rest_s(lease)) : kNever;
}

// The first one of this era, or another one.
void Lessor::give_expiry(LeaseId id, Lease& lease, io::MonotonicNs at) {
  lease.expiry = at;
  const bool first = std::exchange(lease.era, era_) != era_;
  // A later expiry finds itself when the time of the queued one comes.
  if (first || at < lease.queued_at) queue_expiry(id, lease);
  if (first) schedule_checkpoint(id, lease);
}

void Lessor::promote(int64_t extend_ns) {
  primary_ = true;
  ++era_;
  // Room for all at once: growing by doubling would copy everything collected so far within one step.
  std::vector<Due> due;
  due.reserve(leases_.size() + leases_.size() / 8);
  expiries_ = Queue(std::greater<>(), std::move(due));
  checkpoints_ = {};
  promotion_.emplace();
  promotion_->heap.reserve(leases_.size());
  promotion_->from = clock_.monotonic() + extend_ns;
  promotion_->spread = leases_.size() >= kCrowd;
  maintain(kPromotedPerCall);
}

bool Lessor::maintain(size_t budget) {
  if (!promotion_) return false;
  Promotion& p = *promotion_;
  for (; p.next_slot < slots_.size(); ++p.next_slot) {
    if (budget-- == 0) return true;
    const auto it = leases_.find(slots_[p.next_slot]);
    if (it == leases_.end() || it->second.era == era_) continue;
    p.heap.emplace_back(after_seconds(p.from, rest_s(it->second)), it->first);
    std::push_heap(p.heap.begin(), p.heap.end(), std::greater<>());
  }
  while (!p.heap.empty()) {
    if (budget-- == 0) return true;
    std::pop_heap(p.heap.begin(), p.heap.end(), std::greater<>());
    auto [at, id] = p.heap.back();
    p.heap.pop_back();
    const auto it = leases_.find(id);
    if (it == leases_.end() || it->second.era == era_) continue;  // revoked, or renewed meanwhile
    if (p.spread && at <= kSpreadMax) {
      at = std::max(at, p.earliest);
      p.earliest = at + kGap;
    }
    give_expiry(id, it->second, at);
  }
  promotion_.reset();
  return false;
}

void Lessor::demote() {
  primary_ = false;
  ++era_;
  promotion_.reset();
  expiries_ = {};
  checkpoints_ = {};
  for (auto& [id, callbacks] : std::exchange(waiting_, {})) {
    for (auto& gone : callbacks) gone(Error(Code::kNotPrimary));
  }
}

Result<Renewal> Lessor::renew(LeaseId id, io::MonotonicNs now) {
  if (!primary_) return Code::kNotPrimary;
  auto it = leases_.find(id);
  if (it == leases_.end()) return Code::kLeaseNotFound;
  Lease& lease = it->second;
  if (expiry_of(lease) <= now) return Renewal{Renewal::Kind::kExpired};
  FAILPOINT(beforeCheckpointInLeaseRenew);  // as in etcd, whether one is needed or not
  if (options_.checkpoint && lease.remaining_ttl_s > 0) return Renewal{Renewal::Kind::kCheckpointFirst};
  give_expiry(id, lease, after_seconds(now, rest_s(lease)));
  renewed_.inc();
  return Renewal{Renewal::Kind::kRenewed, lease.ttl_s};
}

void Lessor::when_gone(LeaseId id, std::function<void(Error)> callback) {
  if (!primary_) return callback(Error(Code::kNotPrimary));
  if (!leases_.contains(id)) return callback(Error(Code::kLeaseNotFound));
  waiting_[id].push_back(std::move(callback));
}

void Lessor::gone(LeaseId id, const Error& why) {
  auto it = waiting_.find(id);
  if (it == waiting_.end()) return;
  auto callbacks = std::move(it->second);
  waiting_.erase(it);
  for (auto& callback : callbacks) callback(why);
}

std::vector<LeaseId> Lessor::take_expired() {
  maintain(kPromotedPerCall);
  std::vector<LeaseId> expired;
  const io::MonotonicNs now = clock_.monotonic();
  for (int i = 0; i < kEntriesPerCall && expired.size() < kExpiredPerCall; ++i) {
    if (expiries_.empty() || expiries_.top().at > now) break;
    Due due = expiries_.top();
    expiries_.pop();
    auto it = leases_.find(due.id);
    if (it == leases_.end() || it->second.expiry_serial != due.serial) continue;
    if (it->second.expiry > now) {
      due.at = it->second.expiry;
    } else {
      expired.push_back(due.id);
      due.at = now + kRetryInterval;
    }
    it->second.queued_at = due.at;
    expiries_.push(due);
  }
  return expired;
}

// Only leases that will outlive the interval are worth one.
void Lessor::schedule_checkpoint(LeaseId id, Lease& lease) {
  if (!options_.checkpoint || !primary_) return;
  if (rest_s(lease) <= options_.checkpoint_interval_ns / io::kSecond) return;
  lease.checkpoint_serial = next_serial_++;
  checkpoints_.push({clock_.monotonic() + options_.checkpoint_interval_ns, id, lease.checkpoint_serial});
}

std::vector<Checkpoint> Lessor::take_checkpoints(size_t max) {
  std::vector<Checkpoint> out;
  const io::MonotonicNs now = clock_.monotonic();
  for (int i = 0; i < kEntriesPerCall && out.size() < max; ++i) {
    if (checkpoints_.empty() || checkpoints_.top().at > now) break;
    const Due due = checkpoints_.top();
    checkpoints_.pop();
    auto it = leases_.find(due.id);
    if (it == leases_.end() || it->second.checkpoint_serial != due.serial) continue;
    Lease& lease = it->second;
    const io::MonotonicNs expiry = expiry_of(lease);
    if (expiry <= now || expiry == kNever) continue;
    const int64_t remaining_s = (expiry - now + io::kSecond - 1) / io::kSecond;
    // Renewed since, as good as new: there is nothing to remember. The next one is due an interval later.
    if (remaining_s >= lease.ttl_s) {
      schedule_checkpoint(due.id, lease);
      continue;
    }
    out.push_back({due.id, remaining_s});
  }
  return out;
}

// ---- questions ----

std::optional<LeaseInfo> Lessor::info(LeaseId id) const {
  auto it = leases_.find(id);
  if (it == leases_.end()) return std::nullopt;
  LeaseInfo out;
  out.granted_ttl_s = it->second.ttl_s;
  out.demoted = !primary_;
  out.remaining_s = (expiry_of(it->second) - clock_.monotonic()) / io::kSecond;
  return out;
}

std::vector<std::string> Lessor::keys(LeaseId id, std::string_view from, size_t max) const {
  std::vector<std::string> out;
  auto it = leases_.find(id);
  if (it == leases_.end()) return out;
  const auto& keys = it->second.keys;
  for (auto key = keys.lower_bound(from); key != keys.end() && out.size() < max; ++key)
    out.emplace_back(*key);
  return out;
}

size_t Lessor::key_count(LeaseId id) const {
  auto it = leases_.find(id);
  return it == leases_.end() ? 0 : it->second.keys.size();
}

std::vector<LeaseId> Lessor::leases() const {
  LeaseList list(*this);
  CHECK(list.step(SIZE_MAX));
  return list.take();
}

LeaseList::LeaseList(const Lessor& lessor) : lessor_(lessor) {
  // Growing by doubling would copy everything collected so far within one step.
  heap_.reserve(lessor.size());
  sorted_.reserve(lessor.size());
}

bool LeaseList::step(size_t leases_max) {
  for (; next_slot_ < lessor_.slots_.size(); ++next_slot_) {
    if (leases_max-- == 0) return false;
    const auto it = lessor_.leases_.find(lessor_.slots_[next_slot_]);
    if (it == lessor_.leases_.end()) continue;
    heap_.emplace_back(lessor_.expiry_of(it->second), it->first);
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }
  while (!heap_.empty()) {
    if (leases_max-- == 0) return false;
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    sorted_.push_back(heap_.back().second);
    heap_.pop_back();
  }
  return true;
}

}  // namespace quoin::lease
