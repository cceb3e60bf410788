#include "grpc/deadline_heap.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "base/prng.h"
#include "io/clock.h"

namespace quoin::grpc {
namespace {

struct Element {
  io::MonotonicNs key = 0;
  io::MonotonicNs heap_key() const { return key; }
  uint32_t heap_place = DeadlineHeap<Element>::kNoPlace;
};

// A slow twin: the least of a set.
TEST(DeadlineHeap, AgreesWithASet) {
  Prng prng(3);
  std::vector<Element> elements(200);
  DeadlineHeap<Element> heap;
  std::multiset<io::MonotonicNs> twin;
  for (int i = 0; i < 20'000; ++i) {
    Element& e = elements[prng.below(elements.size())];
    if (e.heap_place == DeadlineHeap<Element>::kNoPlace) {
      e.key = static_cast<io::MonotonicNs>(prng.below(1'000));
      heap.push(e);
      twin.insert(e.key);
    } else {
      heap.erase(e);
      twin.erase(twin.find(e.key));
    }
    heap.erase(elements[prng.below(3)]);  // in it or not
    twin.clear();
    for (const Element& each : elements) {
      if (each.heap_place != DeadlineHeap<Element>::kNoPlace) twin.insert(each.key);
    }
    ASSERT_EQ(heap.empty(), twin.empty());
    if (!twin.empty()) {
      ASSERT_EQ(heap.top().key, *twin.begin());
    }
  }
}

}  // namespace
}  // namespace quoin::grpc
