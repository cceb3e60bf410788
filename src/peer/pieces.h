// Bytes to be sent, in order: what is small is gathered in strings, what is large is shared as Blobs.
//
// The data of a log entry is encoded once and shared by the log, the disk and every peer; a message that carries
// it adds a head of some dozen bytes. Small data is copied all the same: a buffer of its own in a system call
// costs more than the copy.
//
// Threads: a plain value.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/blob.h"

namespace quoin::peer {

class Pieces {
 public:
  using Piece = std::variant<std::string, Blob>;
  // Data of at most this many bytes is copied.
  static constexpr size_t kCopyMax = 1024;

  // `n` bytes at the end, to be written by the caller before the next call.
  char* grow(size_t n);
  void append(std::string_view bytes);
  void append(const Blob& bytes);

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // All pieces in order; nothing is left.
  std::vector<Piece> take();
  // One string with all bytes; for tests and short messages.
  std::string joined() const;

 private:
  std::vector<Piece> pieces_;
  size_t size_ = 0;
};

}  // namespace quoin::peer
