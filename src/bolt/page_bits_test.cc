#include "bolt/page_bits.h"

#include <gtest/gtest.h>

#include <set>

#include "base/prng.h"

namespace quoin::bolt {
namespace {

TEST(PageBits, EqualASet) {
  Prng prng(4);
  PageBits bits;
  std::set<uint64_t> twin;
  EXPECT_EQ(bits.prev_set(PageId(100)), std::nullopt);
  for (int i = 0; i < 20'000; ++i) {
    const PageId id(prng.below(prng.chance(1, 2) ? 140 : 1000));
    const uint64_t kind = prng.below(100);
    if (kind == 0) {
      bits.cut(id);
      twin.erase(twin.lower_bound(id.v), twin.end());
    } else if (kind < 40) {
      bits.clear(id);
      twin.erase(id.v);
    } else {
      bits.set(id);
      twin.insert(id.v);
    }
    const PageId at(prng.below(1100));
    ASSERT_EQ(bits.test(at), twin.count(at.v) > 0);
    const auto above = twin.lower_bound(at.v);
    ASSERT_EQ(bits.next_set(at), above == twin.end() ? std::nullopt : std::optional(PageId(*above)));
    const auto behind = twin.upper_bound(at.v);
    ASSERT_EQ(bits.prev_set(at),
              behind == twin.begin() ? std::nullopt : std::optional(PageId(*std::prev(behind))));
  }
}

}  // namespace
}  // namespace quoin::bolt
