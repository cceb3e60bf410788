#include "raft/tracker/inflights.h"

#include <algorithm>

#include "base/check.h"

namespace quoin::raft::tracker {

void Inflights::add(Index last, uint64_t bytes) {
  CHECK(!full(), "cannot add into a Full inflights");
  if (count_ == ring_.size()) grow();
  ring_[(first_ + count_) % ring_.size()] = {last, bytes};
  ++count_;
  bytes_ += bytes;
}

void Inflights::free_to(Index to) {
  while (count_ > 0 && ring_[first_].last <= to) {
    bytes_ -= ring_[first_].bytes;
    first_ = (first_ + 1) % ring_.size();
    --count_;
  }
}

void Inflights::reset() {
  first_ = count_ = 0;
  bytes_ = 0;
}

void Inflights::grow() {
  std::vector<Sent> bigger(std::clamp<size_t>(ring_.size() * 2, 4, messages_max_ < 4 ? 4 : messages_max_));
  for (size_t i = 0; i < count_; ++i) bigger[i] = ring_[(first_ + i) % ring_.size()];
  ring_ = std::move(bigger);
  first_ = 0;
}

}  // namespace quoin::raft::tracker
