#include "v3rpc/held_bytes.h"

#include <gtest/gtest.h>

#include <string>

namespace quoin::v3rpc {
namespace {

Blob tail(size_t size) {
  return Blob::copy(std::string(size, 'x'));
}

TEST(HeldBytes, LargeTailsCountOnce) {
  HeldBytes held;
  const Blob big = tail(1 << 20);
  EXPECT_EQ(held.cost(big), (1u << 20) + HeldBytes::kMessageBytes);
  for (int i = 0; i < 100; ++i) held.add(big);
  EXPECT_EQ(held.bytes(), (1u << 20) + 100 * HeldBytes::kMessageBytes);
  EXPECT_EQ(held.cost(big), HeldBytes::kMessageBytes);
  for (int i = 0; i < 99; ++i) held.remove(big);
  EXPECT_EQ(held.bytes(), (1u << 20) + HeldBytes::kMessageBytes);
  held.remove(big);
  EXPECT_EQ(held.bytes(), 0u);
  EXPECT_EQ(held.cost(big), (1u << 20) + HeldBytes::kMessageBytes);
}

// A watcher without fragments is sent the whole tail, another one the fragments of it, of which the first begins where
// the tail does. Whichever goes first, nothing is left counted: a rest that stays would be a queue that is full for ever.
TEST(HeldBytes, ATailAndItsFirstFragmentAreOne) {
  const Blob whole = tail(1 << 20);
  const Blob first = whole.slice(whole.view().substr(0, 100'000)),
             rest = whole.slice(whole.view().substr(100'000));
  for (const bool whole_comes_first : {true, false}) {
    for (const bool whole_goes_first : {true, false}) {
      HeldBytes held;
      held.add(whole_comes_first ? whole : first);
      held.add(whole_comes_first ? first : whole);
      held.add(rest);
      EXPECT_EQ(held.bytes(), whole.size() + rest.size() + 3 * HeldBytes::kMessageBytes);
      held.remove(whole_goes_first ? whole : first);
      held.remove(rest);
      EXPECT_EQ(held.bytes(), whole.size() + HeldBytes::kMessageBytes);
      held.remove(whole_goes_first ? first : whole);
      EXPECT_EQ(held.bytes(), 0u);
    }
  }
}

TEST(HeldBytes, SmallAndEqualButSeparateTailsCountEach) {
  HeldBytes held;
  const Blob small = tail(HeldBytes::kSharedMin - 1);
  held.add(small);
  held.add(small);
  EXPECT_EQ(held.bytes(), 2 * (HeldBytes::kSharedMin - 1 + HeldBytes::kMessageBytes));
  held.remove(small);
  held.remove(small);
  const Blob a = tail(5000), b = tail(5000);
  held.add(a);
  held.add(b);
  held.add(Blob());
  EXPECT_EQ(held.bytes(), 10'000 + 3 * HeldBytes::kMessageBytes);
  held.remove(b);
  held.remove(Blob());
  held.remove(a);
  EXPECT_EQ(held.bytes(), 0u);
}

}  // namespace
}  // namespace quoin::v3rpc
