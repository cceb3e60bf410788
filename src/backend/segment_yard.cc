#include "backend/segment_yard.h"

#include <utility>

namespace quoin::backend {

std::shared_ptr<Segment> SegmentYard::make() {
  return {new Segment,
          [yard = shared_from_this()](Segment* segment) { yard->bury(std::unique_ptr<Segment>(segment)); }};
}

void SegmentYard::bury(std::unique_ptr<Segment> segment) {
  if (segment->ops() <= kFreedPerTask) return;
  std::lock_guard lock(mutex_);
  if (file_ == nullptr) return;
  dead_.push_back(std::move(segment));
  if (!std::exchange(posted_, true)) file_->post([yard = shared_from_this()] { yard->step(); });
}

void SegmentYard::step() {
  std::unique_ptr<Segment> segment;
  {
    std::lock_guard lock(mutex_);
    posted_ = false;
    if (dead_.empty()) return;
    segment = std::move(dead_.back());
    dead_.pop_back();
  }
  const bool more = segment->free_some(kFreedPerTask);
  std::lock_guard lock(mutex_);
  if (file_ == nullptr) return;
  if (more) dead_.push_back(std::move(segment));
  if (!dead_.empty() && !std::exchange(posted_, true)) {
    file_->post([yard = shared_from_this()] { yard->step(); });
  }
}

void SegmentYard::close() {
  std::vector<std::unique_ptr<Segment>> dead;
  std::lock_guard lock(mutex_);
  file_ = nullptr;
  dead.swap(dead_);
}

}  // namespace quoin::backend
