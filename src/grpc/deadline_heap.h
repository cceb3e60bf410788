// Which call's deadline comes next: a binary heap of pointers in which each element knows its place, so that
// a call that ends early leaves in O(log n) and nothing is allocated per call.
//
// T has `io::MonotonicNs heap_key() const` and a member `uint32_t heap_place`, which is kNoPlace outside the
// heap.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"

namespace quoin::grpc {

template <class T>
class DeadlineHeap {
 public:
  static constexpr uint32_t kNoPlace = UINT32_MAX;

  bool empty() const { return heap_.empty(); }
  T& top() const { return *heap_.front(); }
  void push(T& t) {
    heap_.push_back(&t);
    t.heap_place = static_cast<uint32_t>(heap_.size() - 1);
    up(heap_.size() - 1);
  }
  // Nothing happens if `t` is not in the heap.
  void erase(T& t) {
    const size_t i = t.heap_place;
    if (i == kNoPlace) return;
    DCHECK(heap_[i] == &t);
    t.heap_place = kNoPlace;
    T* last = heap_.back();
    heap_.pop_back();
    if (last == &t) return;
    put(i, last);
    up(i);
    down(last->heap_place);
  }

 private:
  void put(size_t i, T* t) {
    heap_[i] = t;
    t->heap_place = static_cast<uint32_t>(i);
  }
  void up(size_t i) {
    T* t = heap_[i];
    for (; i > 0 && t->heap_key() < heap_[(i - 1) / 2]->heap_key(); i = (i - 1) / 2)
      put(i, heap_[(i - 1) / 2]);
    put(i, t);
  }
  void down(size_t i) {
    T* t = heap_[i];
    for (;;) {
      size_t child = 2 * i + 1;
      if (child >= heap_.size()) break;
      if (child + 1 < heap_.size() && heap_[child + 1]->heap_key() < heap_[child]->heap_key()) ++child;
      if (t->heap_key() <= heap_[child]->heap_key()) break;
      put(i, heap_[child]);
      i = child;
    }
    put(i, t);
  }

  std::vector<T*> heap_;
};

}  // namespace quoin::grpc
