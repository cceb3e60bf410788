#include "server/compactor.h"

#include <algorithm>

#include "base/check.h"

namespace quoin::server {

namespace {
constexpr int64_t kHourNs = 3600 * io::kSecond;
constexpr int64_t kRevisionIntervalNs = 300 * io::kSecond;
constexpr int64_t kNotesPerInterval = 10;
}  // namespace

Compactor::Compactor(Config::AutoCompaction mode, int64_t retention, io::MonotonicNs now)
    : mode_(mode), retention_(retention), interval_ns_(kRevisionIntervalNs), last_(now), wait_ns_(retention) {
  CHECK(retention > 0 && mode != Config::AutoCompaction::kNone);
  if (mode_ == Config::AutoCompaction::kPeriodic) {
    interval_ns_ = std::max<int64_t>(std::min(retention, kHourNs) / kNotesPerInterval, 1);
    window_ = static_cast<size_t>(retention / interval_ns_) + 1;
  }
}

std::optional<int64_t> Compactor::tick(io::MonotonicNs now, int64_t current_revision, bool leading) {
  if (mode_ == Config::AutoCompaction::kRevision) {
    const int64_t revision = current_revision - retention_;
    if (!leading || revision <= 0 || revision == last_revision_) return std::nullopt;
    return revision;
  }
  notes_.push_back(current_revision);
  while (notes_.size() > window_) notes_.pop_front();
  const int64_t revision = notes_.front();
  if (!leading || now - last_ < wait_ns_ || revision == last_revision_) return std::nullopt;
  wait_ns_ = std::min(retention_, kHourNs);
  return revision;
}

void Compactor::done(int64_t revision, bool succeeded, io::MonotonicNs now) {
  if (!succeeded) return;
  last_revision_ = revision;
  last_ = now;
}

}  // namespace quoin::server
