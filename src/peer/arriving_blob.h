// A Blob whose bytes arrive in pieces and whose length was announced by somebody else.
//
// The announcement is not trusted: memory grows with what arrived, to at most twice that and kFirstBytes. What
// is announced with at most kFirstBytes, as nearly everything is, is allocated once and copied once.
//
// Threads: a plain value; the Blob is shared only after take().
#pragma once
#include <cstddef>
#include <string_view>

#include "base/blob.h"

namespace quoin::peer {

class ArrivingBlob {
 public:
  static constexpr size_t kFirstBytes = 64 << 10;

  void begin(size_t size);
  // Takes bytes from the front, at most what is missing; returns how many.
  size_t feed(std::string_view bytes);
  bool done() const { return have_ == size_; }
  size_t received() const { return have_; }
  // Allocated at the moment.
  size_t held_bytes() const { return blob_.size(); }
  // When done.
  Blob take();

 private:
  void reserve(size_t capacity);

  Blob blob_;
  char* data_ = nullptr;  // blob_'s bytes, which nobody else has yet
  size_t size_ = 0, have_ = 0;
};

}  // namespace quoin::peer
