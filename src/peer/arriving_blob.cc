#include "peer/arriving_blob.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace quoin::peer {

void ArrivingBlob::begin(size_t size) {
  size_ = size;
  have_ = copied_ = moved_ = 0;
  before_ = {};
  // Halves of the length, so that every step, and the last one too, has as many bytes to arrive as to move.
  size_t first = size;
  while (first > kFirstBytes) first = (first + 1) / 2;
  room_ = Blob::make(first, [this](char* p) { data_ = p; });
}

void ArrivingBlob::grow() {
  CHECK(before_.empty());
  before_ = std::move(room_);
  moved_ = 0;
  room_ = Blob::make(std::min(size_, 2 * before_.size()), [this](char* p) { data_ = p; });
}

void ArrivingBlob::move_over(size_t bytes) {
  const size_t n = std::min(bytes, before_.size() - moved_);
  std::memcpy(data_ + moved_, before_.view().data() + moved_, n);
  moved_ += n;
  copied_ += n;
  if (moved_ == before_.size()) before_ = {};
}

size_t ArrivingBlob::feed(std::string_view bytes) {
  const size_t taken = std::min(bytes.size(), size_ - have_);
  for (size_t left = taken; left > 0;) {
    if (have_ == room_.size()) grow();
    const size_t n = std::min(left, room_.size() - have_);
    std::memcpy(data_ + have_, bytes.data(), n);
    bytes.remove_prefix(n);
    have_ += n;
    left -= n;
    copied_ += n;
    // One more than arrived, since halves are rounded up.
    if (!before_.empty()) move_over(2 * n);
  }
  return taken;
}

Blob ArrivingBlob::take() {
  CHECK(done());
  CHECK(before_.empty());
  CHECK(room_.size() == size_);
  data_ = nullptr;
  size_ = have_ = 0;
  return std::exchange(room_, {});
}

}  // namespace quoin::peer
