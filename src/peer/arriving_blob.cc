#include "peer/arriving_blob.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace quoin::peer {

void ArrivingBlob::begin(size_t size) {
  blob_ = {};
  size_ = size;
  have_ = 0;
  reserve(std::min(size, kFirstBytes));
}

void ArrivingBlob::reserve(size_t capacity) {
  char* data = nullptr;
  Blob larger = Blob::make(capacity, [&](char* p) { data = p; });
  if (have_ != 0) std::memcpy(data, data_, have_);
  blob_ = std::move(larger);
  data_ = data;
}

size_t ArrivingBlob::feed(std::string_view bytes) {
  const size_t n = std::min(bytes.size(), size_ - have_);
  if (n == 0) return 0;
  if (have_ + n > blob_.size()) reserve(std::min(size_, std::max(have_ + n, 2 * have_)));
  std::memcpy(data_ + have_, bytes.data(), n);
  have_ += n;
  return n;
}

Blob ArrivingBlob::take() {
  CHECK(done());
  CHECK(blob_.size() == size_);
  data_ = nullptr;
  size_ = have_ = 0;
  return std::exchange(blob_, {});
}

}  // namespace quoin::peer
