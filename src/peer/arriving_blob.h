// A Blob whose bytes arrive in pieces and whose length was announced by somebody else.
//
// The announcement is not trusted: memory grows with what arrived, to at most three times that and kFirstBytes. What
// is announced with at most kFirstBytes, as nearly everything is, is allocated once and copied once.
//
// A longer one grows in steps to twice its room, the last step to the announced length. What is in the room before
// moves over piece by piece, with the bytes that arrive: feed() copies no more than thrice what it is given, however
// much is there already.
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
  size_t held_bytes() const { return room_.size() + before_.size(); }
  // Bytes copied since begin(); for tests.
  size_t copied_bytes() const { return copied_; }
  // When done.
  Blob take();

 private:
  void grow();
  // Moves up to `bytes` of what the room before holds.
  void move_over(size_t bytes);

  Blob room_;
  char* data_ = nullptr;  // room_'s bytes, which nobody else has yet
  // While it is moved: the room before, of which the first moved_ bytes are in room_.
  Blob before_;
  size_t moved_ = 0;
  size_t size_ = 0, have_ = 0;
  size_t copied_ = 0;
};

}  // namespace quoin::peer
