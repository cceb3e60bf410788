#include "http2/byte_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "http2/give_back.h"

namespace quoin::http2 {

std::string& ByteQueue::tail() {
  if (first_ == pieces_.size() || !pieces_.back().shared.empty() ||
      pieces_.back().own.size() >= kChunkBytes) {
    pieces_.emplace_back();
    pieces_.back().own = std::move(spare_);
    spare_.clear();
    pieces_.back().own.clear();
  }
  return pieces_.back().own;
}

void ByteQueue::append(std::string_view bytes) {
  if (bytes.empty()) return;
  tail().append(bytes);
  size_ += bytes.size();
}

void ByteQueue::append(const Blob& bytes) {
  if (bytes.size() < kShareMin) return append(bytes.view());
  pieces_.emplace_back();
  pieces_.back().shared = bytes;
  size_ += bytes.size();
}

char* ByteQueue::grow(size_t n) {
  std::string& t = tail();
  const size_t old = t.size();
  t.resize(old + n);
  size_ += n;
  return t.data() + old;
}

void ByteQueue::pop_front_piece() {
  Piece& p = pieces_[first_];
  if (p.own.capacity() > spare_.capacity() && p.own.capacity() <= 2 * kChunkBytes) spare_ = std::move(p.own);
  give_back(p.own);
  p.shared = Blob();
  offset_ = 0;
  ++first_;
  if (first_ == pieces_.size()) {
    pieces_.clear();
    first_ = 0;
  } else if (first_ >= 64 && first_ * 2 >= pieces_.size()) {
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<ptrdiff_t>(first_));
    first_ = 0;
  }
}

void ByteQueue::move_to(size_t n, ByteQueue& to) {
  CHECK_LE(n, size_);
  size_ -= n;
  while (n > 0) {
    Piece& p = pieces_[first_];
    const std::string_view all = p.view();
    const size_t take = std::min(n, all.size() - offset_);
    const std::string_view part = all.substr(offset_, take);
    if (p.shared.empty()) {
      to.append(part);
    } else {
      to.append(p.shared.slice(part));
    }
    offset_ += take;
    n -= take;
    if (offset_ == all.size()) pop_front_piece();
  }
}

void ByteQueue::copy_to(size_t n, char* to) {
  CHECK_LE(n, size_);
  size_ -= n;
  while (n > 0) {
    const std::string_view all = pieces_[first_].view();
    const size_t take = std::min(n, all.size() - offset_);
    std::memcpy(to, all.data() + offset_, take);
    to += take;
    offset_ += take;
    n -= take;
    if (offset_ == all.size()) pop_front_piece();
  }
}

void ByteQueue::drop(size_t n) {
  CHECK_LE(n, size_);
  size_ -= n;
  while (n > 0) {
    const size_t all = pieces_[first_].view().size();
    const size_t take = std::min(n, all - offset_);
    offset_ += take;
    n -= take;
    if (offset_ == all) pop_front_piece();
  }
}

ByteQueue::Piece ByteQueue::pop() {
  CHECK(!empty());
  Piece p = std::move(pieces_[first_]);
  if (offset_ > 0) {
    if (p.shared.empty()) {
      p.own.erase(0, offset_);
    } else {
      p.shared = p.shared.slice(p.shared.view().substr(offset_));
    }
  }
  size_ -= p.view().size();
  pop_front_piece();
  return p;
}

std::string ByteQueue::take_all() {
  std::string all;
  all.reserve(size_);
  while (!empty()) all += pop().view();
  return all;
}

void ByteQueue::clear(size_t keep_bytes) {
  while (first_ < pieces_.size()) pop_front_piece();
  size_ = 0;
  if (spare_.capacity() > keep_bytes) give_back(spare_);
}

}  // namespace quoin::http2
