#include "scenarios/edges.h"

#include <fmt/format.h>

namespace quoin::scenarios {

namespace {
constexpr std::string_view kExpected[] = {
    // Connections.
    "connection cut",
    "connection reset",
    "connection refused",
    "connection ended by the member's stop",
    "client stops reading",
    // Calls.
    "cancelled KV/Range",
    "cancelled KV/RangeStream",
    "cancelled KV/Put",
    "cancelled KV/DeleteRange",
    "cancelled KV/Txn",
    "cancelled KV/Compact",
    "cancelled Lease/LeaseGrant",
    "cancelled Lease/LeaseRevoke",
    "cancelled Lease/LeaseKeepAlive",
    "cancelled Lease/LeaseTimeToLive",
    "cancelled Lease/LeaseLeases",
    "cancelled Watch/Watch",
    "cancelled Maintenance/Snapshot",
    "cancelled Maintenance/Hash",
    "cancelled Maintenance/HashKV",
    "cancelled Maintenance/Defragment",
    "cancelled Maintenance/Alarm",
    "cancelled Maintenance/Status",
    "cancelled with its request in one packet",
    "deadline passed",
    "outcome unknown: found already",
    // Reads.
    "read of an old revision",
    "read of a compacted revision",
    "range stream in several chunks",
    "range stream: writes between chunks",
    "snapshot whole",
    "snapshot cut off in the middle",
    "keepalive of an unknown lease",
    "keepalive of a granted lease",
    // Watches.
    "watch fragments",
    "watch compacted",
    "watch id used again",
    "watch id refused",
    "watch progress of one watcher",
    "watch progress of a stream",
    "watch queue full",
    "watch queue has room again",
    "watch catch-up on the loop",
    "watchers told everything",
};
}  // namespace

void Edges::met(std::string_view name, size_t times) {
  if (times == 0) return;
  const auto it = times_.find(name);
  if (it != times_.end()) {
    it->second += times;
  } else {
    times_.emplace(name, times);
  }
}

void Edges::add(const Edges& other) {
  for (const auto& [name, times] : other.times_) met(name, times);
}

std::string Edges::text() const {
  std::string out;
  for (const auto& [name, times] : times_) out += fmt::format("  {:<44} {}\n", name, times);
  return out;
}

std::vector<std::string_view> Edges::missing() const {
  std::vector<std::string_view> out;
  for (const std::string_view name : kExpected) {
    if (!times_.contains(name)) out.push_back(name);
  }
  return out;
}

}  // namespace quoin::scenarios
