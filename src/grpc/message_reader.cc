#include "grpc/message_reader.h"

#include <algorithm>

#include "http2/give_back.h"

namespace quoin::grpc {
namespace {
// Reserved at once for an announced message; more only as bytes arrive.
constexpr size_t kReserveMax = 64 * 1024;
}  // namespace

void MessageReader::reset(size_t limit) {
  limit_ = limit;
  next();
}

void MessageReader::next() {
  have_ = 0;
  size_ = 0;
  body_.clear();
}

MessageReader::Step MessageReader::read(std::string_view& input) {
  if (have_ < kPrefixBytes) {
    const size_t n = std::min(kPrefixBytes - have_, input.size());
    if (n > 0) std::memcpy(prefix_ + have_, input.data(), n);
    have_ += n;
    input.remove_prefix(n);
    if (have_ < kPrefixBytes) return Step::kMore;
    size_ = load_prefix_size(prefix_);
    if (size_ > limit_) return Step::kTooLarge;
    body_.reserve(std::min(size_, kReserveMax));
  }
  const size_t n = std::min(size_ - body_.size(), input.size());
  body_.append(input.substr(0, n));
  input.remove_prefix(n);
  return body_.size() == size_ ? Step::kMessage : Step::kMore;
}

void MessageReader::shrink(size_t keep_bytes) {
  if (body_.capacity() > keep_bytes) http2::give_back(body_);
}

}  // namespace quoin::grpc
