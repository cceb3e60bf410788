#include "grpc/packer.h"

#include <algorithm>
#include <utility>

#include "grpc/protocol.h"

namespace quoin::grpc {

void Packer::add(std::string head, std::span<const Blob> parts) {
  Message& m = waiting_.emplace_back();
  m.head = std::move(head);
  plain_bytes_ += m.head.size();
  for (const Blob& part : parts) {
    if (part.empty()) continue;
    m.parts.push_back(part);
    plain_bytes_ += part.size();
  }
}

std::string_view Packer::part_under_way() const {
  const Message& m = waiting_.front();
  return part_ == 0 ? std::string_view(m.head) : m.parts[part_ - 1].view();
}

// The part under way is compressed: it is not needed any more.
void Packer::drop_part() {
  Message& m = waiting_.front();
  plain_bytes_ -= part_under_way().size();
  if (part_ == 0) {
    std::string().swap(m.head);
  } else {
    m.parts[part_ - 1] = Blob();
  }
  ++part_;
  at_ = 0;
}

void Packer::step(http2::ByteQueue& out) {
  size_t done = 0;
  while (!waiting_.empty() && done < kStepBytes) {
    if (!gzip_) gzip_ = std::make_unique<Gzip>();
    const std::string_view piece = part_under_way().substr(at_, kStepBytes - done);
    at_ += piece.size();
    done += piece.size();
    const bool part_ends = at_ == part_under_way().size();
    const bool last = part_ends && part_ == waiting_.front().parts.size();
    gzip_->add(piece, last, packed_);
    if (part_ends) drop_part();
    if (last) {
      complete(out);
      done += kMessageCostBytes;
    } else if (packed_.size() >= http2::ByteQueue::kChunkBytes) {
      pieces_.push_back(Blob::copy(packed_));
      packed_bytes_ += packed_.size();
      packed_.clear();
    }
  }
  // A stream may be silent for days.
  if (waiting_.empty()) {
    gzip_.reset();
    std::string().swap(packed_);
  }
}

void Packer::complete(http2::ByteQueue& out) {
  store_prefix(out.grow(kPrefixBytes), true, static_cast<uint32_t>(packed_bytes_ + packed_.size()));
  for (const Blob& piece : pieces_) out.append(piece);
  out.append(packed_);
  pieces_.clear();
  packed_.clear();
  packed_bytes_ = 0;
  waiting_.pop_front();
  part_ = 0;
}

}  // namespace quoin::grpc
