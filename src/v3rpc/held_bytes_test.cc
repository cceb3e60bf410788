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
