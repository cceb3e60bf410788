// Bytes on their way out: a queue of pieces, each an own buffer or a shared Blob.
//
// Small appends collect in one buffer; a Blob of at least kShareMin bytes is queued without a copy. Bytes
// leave by move_to(), which copies small ranges and shares large ones, or whole, piece by piece, with pop().
//
// Threads: confined to its owner. Units: bytes.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/blob.h"

namespace quoin::http2 {

class ByteQueue {
 public:
  // Below this a copy costs less than a piece of its own (an entry here, an iovec in the kernel).
  static constexpr size_t kShareMin = 4096;
  // A buffer that grew to this size takes no further appends; the next one begins.
  static constexpr size_t kChunkBytes = 64 * 1024;

  struct Piece {
    std::string own;  // used if `shared` is empty
    Blob shared;
    std::string_view view() const { return shared.empty() ? std::string_view(own) : shared.view(); }
  };

  ByteQueue() = default;
  ByteQueue(const ByteQueue&) = delete;
  ByteQueue& operator=(const ByteQueue&) = delete;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  void append(std::string_view bytes);
  void append(const Blob& bytes);
  // Room for `n` bytes at the end, to be filled at once; the pointer ends at the next call of any method.
  char* grow(size_t n);

  // Moves the first `n` <= size() bytes to the end of `to`.
  void move_to(size_t n, ByteQueue& to);
  // The same to memory.
  void copy_to(size_t n, char* to);
  // Drops the first `n` <= size() bytes.
  void drop(size_t n);
  // Takes the first piece out, whole as far as it is left; the queue must not be empty.
  Piece pop();
  // All bytes as one string, for tests and small answers; empties the queue.
  std::string take_all();
  // Forgets all bytes; keeps one buffer for reuse unless it is larger than `keep_bytes`.
  void clear(size_t keep_bytes);

 private:
  void pop_front_piece();
  std::string& tail();

  std::vector<Piece> pieces_;  // [first_, end) in use; the ones before are empty and wait to be erased
  size_t first_ = 0;
  size_t offset_ = 0;  // bytes of pieces_[first_] already gone
  size_t size_ = 0;
  std::string spare_;  // a drained buffer, used again for the next piece
};

}  // namespace quoin::http2
