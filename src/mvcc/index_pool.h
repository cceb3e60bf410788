// Memory for the small objects of one key index: nodes, entries, revisions.
//
// Why not the allocator of the process: a look-up in an index of a million keys touches a handful of objects that
// lie anywhere in a hundred megabytes. On pages of 4 KiB nearly each of them misses the processor's table of
// address translations, which costs more than the search (measured: docs/decisions/0014). So objects come from
// chunks of 2 MiB that the kernel is asked to back with huge pages. The first chunk is not, so that a small
// index stays small. And all of an index can be freed by its chunks, without a walk through its tree.
//
// Shape: a chunk is cut into spans of 64 KiB, a span into slots of one size. Freed slots are used again first.
// A span without objects goes back to its chunk, a chunk without spans to the process (one is kept).
// Objects above kSlotMax are the process's allocator's, in a list.
//
// Threads: one at a time. Errors: none; without memory the process ends, as with operator new.
// Lifetime: the destructor frees all memory and calls no object's destructor.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

namespace quoin::mvcc {

class IndexPool {
 public:
  static constexpr size_t kChunkBytes = size_t{2} << 20;
  static constexpr size_t kSpanBytes = size_t{64} << 10;
  static constexpr size_t kSlotMax = 2112;  // an inner node

  IndexPool();
  IndexPool(const IndexPool&) = delete;
  IndexPool& operator=(const IndexPool&) = delete;
  ~IndexPool();

  // Aligned to 16 bytes; to 64, a line of the processor's cache, from 256 bytes on.
  void* allocate(size_t bytes);
  // `bytes` as given to allocate().
  void free(void* object, size_t bytes);

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
  size_t chunks_ = 0, empty_chunks_ = 0;
  size_t used_bytes_ = 0, held_bytes_ = 0;
};

}  // namespace quoin::mvcc
