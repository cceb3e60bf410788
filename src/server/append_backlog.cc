#include "server/append_backlog.h"

#include "base/check.h"

namespace quoin::server {

AppendBacklog::AppendBacklog(io::Clock& clock, log::Logger& log, metrics::Registry& metrics)
    : clock_(clock),
      log_(log),
      refused_(metrics.counter("quoin_append_refused_total",
                               "Proposals refused because too many bytes wait for the log.")) {
  metrics.callback("quoin_append_waiting_bytes", "Bytes of proposals that are not yet durable in the log.",
                   metrics::Type::kGauge, [this] { return static_cast<double>(bytes()); });
  metrics.callback("quoin_append_waiting_batches",
                   "Batches handed to the log that are not yet known to be durable.", metrics::Type::kGauge,
                   [this] { return static_cast<double>(batches()); });
  metrics.callback("quoin_append_oldest_wait_seconds",
                   "How long the oldest batch handed to the log has been waiting.", metrics::Type::kGauge,
                   [this] { return static_cast<double>(oldest_wait_ns()) * 1e-9; });
}

bool AppendBacklog::admit(uint64_t data_bytes) {
  const uint64_t cost = data_bytes + kEntryOverhead;
  const uint64_t before = admitted_.fetch_add(cost, std::memory_order_relaxed);
  if (before + cost + handed_.load(std::memory_order_relaxed) <= kBytesMax) return true;
  admitted_.fetch_sub(cost, std::memory_order_relaxed);
  refused_.inc();
  return false;
}

void AppendBacklog::admitted_ended(uint64_t proposals, uint64_t data_bytes) {
  admitted_.fetch_sub(data_bytes + proposals * kEntryOverhead, std::memory_order_relaxed);
}

void AppendBacklog::handed(const std::vector<raft::Entry>& entries) {
  const io::MonotonicNs now = clock_.monotonic();
  const uint64_t bytes = raft::payload_size(entries) + entries.size() * kEntryOverhead;
  if (waiting_.empty()) oldest_.store(now, std::memory_order_relaxed);
  waiting_.push_back({now, bytes});
  handed_.fetch_add(bytes, std::memory_order_relaxed);
  batches_.store(waiting_.size(), std::memory_order_relaxed);
}

void AppendBacklog::durable() {
  CHECK(!waiting_.empty());
  handed_.fetch_sub(waiting_.front().bytes, std::memory_order_relaxed);
  waiting_.pop_front();
  batches_.store(waiting_.size(), std::memory_order_relaxed);
  oldest_.store(waiting_.empty() ? 0 : waiting_.front().since, std::memory_order_relaxed);
}

int64_t AppendBacklog::oldest_wait_ns() const {
  const io::MonotonicNs since = oldest_.load(std::memory_order_relaxed);
  return since == 0 ? 0 : clock_.monotonic() - since;
}

void AppendBacklog::watch() {
  const io::MonotonicNs now = clock_.monotonic();
  const auto due = [now](const std::optional<io::MonotonicNs>& told) {
    return !told || now - *told > kTellEveryNs;
  };
  const int64_t wait = oldest_wait_ns();
  if (wait > kStuckNs && due(told_stuck_)) {
    told_stuck_ = now;
    LOG(log_, kWarn, "the disk of the log has not answered", {"waiting", log::Duration{wait}},
        {"waiting-batches", batches()}, {"waiting-bytes", bytes()});
  }
  if (const uint64_t refused = refused_.value(); refused != refused_told_ && due(told_refused_)) {
    LOG(log_, kWarn, "too many bytes wait for the log; proposals are refused",
        {"refused", refused - refused_told_}, {"waiting-bytes", bytes()}, {"waiting-bytes-max", kBytesMax},
        {"oldest-wait", log::Duration{wait}});
    told_refused_ = now;
    refused_told_ = refused;
  }
}

}  // namespace quoin::server
