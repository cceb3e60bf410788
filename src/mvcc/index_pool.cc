#include "mvcc/index_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

namespace quoin::mvcc {

namespace {

constexpr size_t kLine = 64, kPage = 4096;
constexpr size_t kSpans = IndexPool::kChunkBytes / IndexPool::kSpanBytes;
constexpr uint32_t kAllFree = UINT32_MAX;
static_assert(kSpans == 32);

template <class T>
void push_front(T** head, T* item) {
  item->next = *head;
  item->previous = nullptr;
  if (*head) (*head)->previous = item;
  *head = item;
}

template <class T>
void unlink(T** head, T* item) {
  (item->previous ? item->previous->next : *head) = item->next;
  if (item->next) item->next->previous = item->previous;
}

struct FreeSlot {
  FreeSlot* next;
};

void* new_memory(bool huge_pages) {
  void* memory = std::aligned_alloc(IndexPool::kChunkBytes, IndexPool::kChunkBytes);
  CHECK(memory, "no memory for the key index");
  // A wish: without huge pages everything works, slower.
  if (huge_pages) madvise(memory, IndexPool::kChunkBytes, MADV_HUGEPAGE);
  return memory;
}

}  // namespace

// Lies in its chunk's head.
struct IndexPool::Span {
  Span *next, *previous;  // of open_
  FreeSlot* freed;        // slots that were used before
  char* fresh;            // the first slot never used
  char* end;              // no slot begins at or after it
  uint32_t slot_bytes;
  uint32_t used;
  uint16_t size_class;
  uint16_t number;  // in its chunk

  bool has_room() const { return freed || fresh != end; }
};

// At the start of its 2 MiB; the first span begins behind it.
struct IndexPool::Chunk {
  Chunk *next, *previous;  // of roomy_
  Chunk *next_of_all, *previous_of_all;
  uint32_t free_spans;  // a bit each
  Span spans[kSpans];

  static Chunk* of(void* object) {
    return reinterpret_cast<Chunk*>(reinterpret_cast<uintptr_t>(object) & ~(kChunkBytes - 1));
  }
  char* bytes() { return reinterpret_cast<char*>(this); }
};

struct IndexPool::Large {
  Large *next, *previous;
};
constexpr size_t kLargeHead = 16;

ChunkReserve::~ChunkReserve() {
  std::free(ready_.load());
}

void* ChunkReserve::take() {
  void* chunk = ready_.exchange(nullptr, std::memory_order_acquire);
  if (chunk) ordered_.store(false, std::memory_order_relaxed);
  return chunk;
}

void ChunkReserve::order() {
  if (ordered_.exchange(true, std::memory_order_relaxed)) return;
  executor_.post([self = shared_from_this()] {
    void* memory = new_memory(true);
    for (size_t at = 0; at < IndexPool::kChunkBytes; at += kPage) {
      static_cast<volatile char*>(memory)[at] = 0;
    }
    self->ready_.store(memory, std::memory_order_release);
  });
}

IndexPool::IndexPool() = default;

IndexPool::~IndexPool() {
  while (Chunk* chunk = all_) {
    all_ = chunk->next_of_all;
    ASAN_UNPOISON_MEMORY_REGION(chunk, kChunkBytes);
    std::free(chunk);
  }
  while (Large* large = large_) {
    large_ = large->next;
    ::operator delete(large);
  }
}

size_t IndexPool::class_of(size_t bytes) {
  if (bytes <= kFineMax) return bytes == 0 ? 0 : (bytes - 1) / kFineStep;
  return kFineMax / kFineStep + (bytes - kFineMax - 1) / kCoarseStep;
}

size_t IndexPool::slot_bytes(size_t size_class) {
  constexpr size_t kFine = kFineMax / kFineStep;
  return size_class < kFine ? (size_class + 1) * kFineStep
                            : kFineMax + (size_class - kFine + 1) * kCoarseStep;
}

void* IndexPool::allocate(size_t bytes) {
  used_bytes_ += bytes;
  if (bytes > kSlotMax) [[unlikely]] {
    static_assert(sizeof(Large) <= kLargeHead);
    auto* large = static_cast<Large*>(::operator new(kLargeHead + bytes));
    held_bytes_ += kLargeHead + bytes;
    push_front(&large_, large);
    return reinterpret_cast<char*>(large) + kLargeHead;
  }
  const size_t size_class = class_of(bytes);
  Span* span = open_[size_class];
  if (!span) span = new_span(size_class);
  ++span->used;
  void* slot;
  if (span->freed) {
    slot = span->freed;
    ASAN_UNPOISON_MEMORY_REGION(slot, sizeof(FreeSlot));
    span->freed = span->freed->next;
  } else {
    slot = span->fresh;
    span->fresh += span->slot_bytes;
  }
  if (!span->has_room()) unlink(&open_[size_class], span);
  ASAN_UNPOISON_MEMORY_REGION(slot, std::max(bytes, sizeof(FreeSlot)));
  return slot;
}

void IndexPool::free(void* object, size_t bytes) {
  used_bytes_ -= bytes;
  if (bytes > kSlotMax) [[unlikely]] {
    auto* large = reinterpret_cast<Large*>(static_cast<char*>(object) - kLargeHead);
    unlink(&large_, large);
    held_bytes_ -= kLargeHead + bytes;
    ::operator delete(large);
    return;
  }
  Chunk* const chunk = Chunk::of(object);
  Span& span = chunk->spans[static_cast<size_t>(static_cast<char*>(object) - chunk->bytes()) / kSpanBytes];
  DCHECK(class_of(bytes) == span.size_class);
  DCHECK(span.used > 0);
  if (!span.has_room()) push_front(&open_[span.size_class], &span);
  auto* slot = static_cast<FreeSlot*>(object);
  slot->next = span.freed;
  span.freed = slot;
  ASAN_POISON_MEMORY_REGION(object, span.slot_bytes);
  if (--span.used == 0) return_span(&span);
}

IndexPool::Span* IndexPool::new_span(size_t size_class) {
  Chunk* chunk = roomy_ ? roomy_ : new_chunk();
  if (chunk->free_spans == kAllFree) --empty_chunks_;
  const auto number = static_cast<uint32_t>(__builtin_ctz(chunk->free_spans));
  chunk->free_spans &= chunk->free_spans - 1;
  if (chunk->free_spans == 0) unlink(&roomy_, chunk);
  if (--free_spans_ < kSpans / 2 && reserve_) reserve_->order();

  Span& span = chunk->spans[number];
  const size_t size = slot_bytes(size_class);
  const size_t head = number == 0 ? (sizeof(Chunk) + kLine - 1) / kLine * kLine : 0;
  span.freed = nullptr;
  span.fresh = chunk->bytes() + number * kSpanBytes + head;
  span.end = span.fresh + (kSpanBytes - head) / size * size;
  span.slot_bytes = static_cast<uint32_t>(size);
  span.used = 0;
  span.size_class = static_cast<uint16_t>(size_class);
  span.number = static_cast<uint16_t>(number);
  push_front(&open_[size_class], &span);
  return &span;
}

IndexPool::Chunk* IndexPool::new_chunk() {
  void* memory = reserve_ ? reserve_->take() : nullptr;
  if (!memory) memory = new_memory(chunks_ > 0 && !reserve_);
  auto* chunk = static_cast<Chunk*>(memory);
  ASAN_POISON_MEMORY_REGION(chunk->bytes() + sizeof(Chunk), kChunkBytes - sizeof(Chunk));
  chunk->free_spans = kAllFree;
  push_front(&roomy_, chunk);
  chunk->previous_of_all = nullptr;
  chunk->next_of_all = all_;
  if (all_) all_->previous_of_all = chunk;
  all_ = chunk;
  ++chunks_;
  ++empty_chunks_;
  free_spans_ += kSpans;
  held_bytes_ += kChunkBytes;
  return chunk;
}

void IndexPool::return_span(Span* span) {
  Chunk* const chunk = Chunk::of(span);
  unlink(&open_[span->size_class], span);
  if (chunk->free_spans == 0) push_front(&roomy_, chunk);
  chunk->free_spans |= uint32_t{1} << span->number;
  ++free_spans_;
  if (chunk->free_spans != kAllFree) return;
  if (empty_chunks_ == 0) {
    ++empty_chunks_;
    return;
  }
  unlink(&roomy_, chunk);
  (chunk->previous_of_all ? chunk->previous_of_all->next_of_all : all_) = chunk->next_of_all;
  if (chunk->next_of_all) chunk->next_of_all->previous_of_all = chunk->previous_of_all;
  --chunks_;
  free_spans_ -= kSpans;
  held_bytes_ -= kChunkBytes;
  ASAN_UNPOISON_MEMORY_REGION(chunk, kChunkBytes);
  std::free(chunk);
}

}  // namespace quoin::mvcc
