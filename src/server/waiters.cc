#include "server/waiters.h"

#include "base/check.h"

namespace quoin::server {

void Waiters::add(uint64_t id, Waiter waiter) {
  Shard& s = shard(id);
  const io::MonotonicNs since = waiter.since;
  const bool patient = waiter.patient;
  std::lock_guard lock(s.mutex);
  const bool inserted = s.waiters.emplace(id, std::move(waiter)).second;
  CHECK(inserted, "request id {:x} used twice", id);
  if (!patient) s.by_age.emplace_back(since, id);
  size_.fetch_add(1, std::memory_order_relaxed);
}

std::optional<Waiter> Waiters::take(uint64_t id) {
  Shard& s = shard(id);
  std::lock_guard lock(s.mutex);
  auto it = s.waiters.find(id);
  if (it == s.waiters.end()) return std::nullopt;
  std::optional<Waiter> w(std::move(it->second));
  s.waiters.erase(it);
  // Ids end nearly in the order they began: most are at the front when they are taken. Others linger until
  // they are half of what is there, and are cleared out then.
  if (!s.by_age.empty() && s.by_age.front().second == id) {
    s.by_age.pop_front();
  } else if (s.by_age.size() > 2 * s.waiters.size() + kLingerMax) {
    std::erase_if(s.by_age, [&](const auto& age) { return !s.waiters.contains(age.second); });
  }
  if (!w->given_up) size_.fetch_sub(1, std::memory_order_relaxed);
  return w;
}

bool Waiters::give_up(uint64_t id) {
  Shard& s = shard(id);
  std::optional<Waiter> patient;  // dropped after the lock
  std::lock_guard lock(s.mutex);
  auto it = s.waiters.find(id);
  if (it == s.waiters.end() || it->second.given_up) return false;
  if (it->second.patient) {
    patient = std::move(it->second);
    s.waiters.erase(it);
    size_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  it->second.given_up = true;
  it->second.done = [kept = std::move(it->second.done)](Answer) {};
  size_.fetch_sub(1, std::memory_order_relaxed);
  return true;
}

bool Waiters::waiting(uint64_t id) const {
  const Shard& s = shard(id);
  std::lock_guard lock(s.mutex);
  const auto it = s.waiters.find(id);
  return it != s.waiters.end() && !it->second.given_up;
}

std::vector<Waiter> Waiters::expire(io::MonotonicNs limit) {
  std::vector<Waiter> gone;
  for (Shard& s : shards_) {
    std::lock_guard lock(s.mutex);
    while (!s.by_age.empty() && s.by_age.front().first < limit) {
      if (auto it = s.waiters.find(s.by_age.front().second); it != s.waiters.end()) {
        if (!it->second.given_up) gone.push_back(std::move(it->second));
        s.waiters.erase(it);
      }
      s.by_age.pop_front();
    }
  }
  size_.fetch_sub(gone.size(), std::memory_order_relaxed);
  return gone;
}

std::vector<Waiter> Waiters::take_all() {
  std::vector<Waiter> all = expire(INT64_MAX);
  const size_t expired = all.size();
  for (Shard& s : shards_) {
    std::lock_guard lock(s.mutex);
    for (auto& [id, waiter] : s.waiters) {
      if (!waiter.given_up) all.push_back(std::move(waiter));
    }
    s.waiters.clear();
  }
  size_.fetch_sub(all.size() - expired, std::memory_order_relaxed);
  return all;
}

}  // namespace quoin::server
