// Memory for the small objects of one key index: nodes, entries, revisions.
//
// A look-up in an index of a million keys touches a handful of objects that lie anywhere in a hundred
// megabytes. On pages of 4 KiB nearly each of them misses the processor's table of address translations, which
// costs more than the search (measured: docs/decisions/0014). So objects come from chunks of 2 MiB that the
// kernel is asked to back with huge pages. The first chunk is not, so that a small index stays small. And an
// index is freed by its chunks, without a walk through its tree.
//
// Shape: a chunk is cut into spans of 64 KiB, a span into slots of one size. Freed slots are used again first.
// A span without objects goes back to its chunk, a chunk without spans to the process (one is kept).
// Objects above kSlotMax are the process's allocator's, in a list.
//
// The kernel makes a chunk's pages when they are first touched, which can take milliseconds (it may have to move
// others to find 2 MiB in one piece). A pool with a ChunkReserve takes chunks from there, whose pages exist
// already. If none is ready, it takes one on small pages and goes on.
//
// Threads: a pool is used by one thread at a time; a ChunkReserve by its pool and by its executor at once.
// Errors: none; without memory the process ends, as with operator new.
// Lifetime: the destructor frees all memory and calls no object's destructor.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "io/executor.h"

namespace quoin::mvcc {

// One chunk, made ready in the background.
class ChunkReserve : public std::enable_shared_from_this<ChunkReserve> {
 public:
  // `executor` may run long tasks. It must be there whenever order() is called.
  explicit ChunkReserve(io::Executor& executor) : executor_(executor) {}
  ~ChunkReserve();
  // The chunk that is ready, for the caller to free(); null if there is none.
  void* take();
  // Has a chunk made ready unless there is one or one is ordered.
  void order();

 private:
  io::Executor& executor_;
  std::atomic<bool> ordered_{false};
  std::atomic<void*> ready_{nullptr};
};

class IndexPool {
 public:
  static constexpr size_t kChunkBytes = size_t{2} << 20;
  static constexpr size_t kSpanBytes = size_t{64} << 10;
  static constexpr size_t kSlotMax = 2112;  // holds the largest node

  IndexPool();
  IndexPool(const IndexPool&) = delete;
  IndexPool& operator=(const IndexPool&) = delete;
  ~IndexPool();

  // Aligned to 16 bytes; to 64, a line of the processor's cache, from 256 bytes on.
  void* allocate(size_t bytes);
  // `bytes` as given to allocate().
  void free(void* object, size_t bytes);
  // From now on new chunks come from there.
  void set_reserve(std::shared_ptr<ChunkReserve> reserve) { reserve_ = std::move(reserve); }

  template <class T, class... Args>
  T* make(Args&&... args) {
    return new (allocate(sizeof(T))) T{std::forward<Args>(args)...};
  }
  template <class T>
  void destroy(T* object) {
    object->~T();
    free(object, sizeof(T));
  }

  // Of objects, as asked for.
  size_t used_bytes() const { return used_bytes_; }
  // Of chunks and large objects.
  size_t held_bytes() const { return held_bytes_; }

 private:
  struct Chunk;
  struct Span;
  struct Large;
  static constexpr size_t kFineStep = 16, kFineMax = 256, kCoarseStep = 64;
  static constexpr size_t kClasses = kFineMax / kFineStep + (kSlotMax - kFineMax) / kCoarseStep;

  static size_t class_of(size_t bytes);
  static size_t slot_bytes(size_t size_class);
  Span* new_span(size_t size_class);
  Chunk* new_chunk();
  void return_span(Span* span);

  Span* open_[kClasses] = {};  // spans with a free slot, by class
  Chunk* roomy_ = nullptr;     // chunks with a free span
  Chunk* all_ = nullptr;       // every chunk
  Large* large_ = nullptr;
  std::shared_ptr<ChunkReserve> reserve_;
  size_t chunks_ = 0, empty_chunks_ = 0, free_spans_ = 0;
  size_t used_bytes_ = 0, held_bytes_ = 0;
};

}  // namespace quoin::mvcc
