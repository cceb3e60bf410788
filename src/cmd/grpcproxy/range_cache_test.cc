#include "cmd/grpcproxy/range_cache.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace quoin::cmd::grpcproxy {
namespace {

const std::string kZero("\0", 1);

std::string found(RangeCache& c, std::string_view name) {
  const std::string* s = c.find(name);
  return s ? *s : "-";
}

TEST(RangeCache, AWriteEndsWhatItTouches) {
  RangeCache c;
  c.add("a", "a", "", 0, "1");
  c.add("a at 7", "a", "", 7, "2");
  c.add("a-c", "a", "c", 0, "3");
  c.add("b-", "b", kZero, 0, "4");
  c.invalidate("d", "");
  EXPECT_EQ(found(c, "a") + found(c, "a at 7") + found(c, "a-c") + found(c, "b-"), "123-");
  c.invalidate("a", "");
  EXPECT_EQ(found(c, "a") + found(c, "a at 7") + found(c, "a-c"), "-2-");
  c.add("a", "a", "", 0, "1");
  c.invalidate("b", "a");  // inverted
  EXPECT_EQ(found(c, "a"), "1");
  c.invalidate("A", kZero);
  EXPECT_EQ(found(c, "a"), "-");
}

TEST(RangeCache, TheLeastRecentlyUsedGoFirst) {
  RangeCache c(3, 1 << 20);
  for (const char* k : {"a", "b", "c"}) c.add(k, k, "", 0, k);
  found(c, "a");
  c.add("d", "d", "", 0, "d");
  EXPECT_EQ(found(c, "a") + found(c, "b") + found(c, "c") + found(c, "d"), "a-cd");
}

TEST(RangeCache, BytesAreBounded) {
  RangeCache c(1000, 100'000);
  for (int i = 0; i < 100; ++i) c.add(std::to_string(i), "k", "", 0, std::string(10'000, 'x'));
  EXPECT_LE(c.bytes(), 100'000u);
  EXPECT_EQ(c.size(), 9u);
  c.add("huge", "k", "", 0, std::string(200'000, 'x'));
  EXPECT_EQ(c.size(), 0u);
  EXPECT_EQ(c.bytes(), 0u);
}

TEST(RangeCache, WhatIsCompactedIsKnown) {
  RangeCache c;
  c.add("a at 3", "a", "", 3, "x");
  c.compact(5);
  EXPECT_TRUE(c.compacted("a at 3", 3));
  EXPECT_FALSE(c.compacted("a at 5", 5));
  EXPECT_FALSE(c.compacted("a", 0));
  EXPECT_EQ(found(c, "a at 3"), "-");
  c.add("a at 4", "a", "", 4, "x");
  EXPECT_EQ(found(c, "a at 4"), "-");
}

// Against a list that is searched through.
TEST(RangeCache, AsASlowTwin) {
  Prng prng(3);
  RangeCache c(50, 1 << 30);
  struct Item {
    std::string name, key, end;
  };
  std::vector<Item> twin;  // the most recently used last
  const auto key = [&] { return std::string(1, static_cast<char>('a' + prng.below(8))); };
  const auto end = [&]() -> std::string {
    const uint64_t d = prng.below(4);
    return d == 0 ? kZero : d == 1 ? key() : "";
  };
  const auto in = [](const std::string& k, const std::string& from, const std::string& to) {
    return to.empty() ? k == from : k >= from && (to == kZero || k < to);
  };
  for (int i = 0; i < 20'000; ++i) {
    const std::string k = key(), e = end();
    if (prng.chance(1, 3)) {
      c.invalidate(k, e);
      std::erase_if(twin, [&](const Item& t) {
        for (std::string x : {"a", "b", "c", "d", "e", "f", "g", "h", "i"}) {
          if (in(x, k, e) && in(x, t.key, t.end)) return true;
        }
        return false;
      });
    } else {
      const std::string name = k + "-" + e;
      const auto at = [&](const Item& t) { return t.name == name; };
      const auto it = std::find_if(twin.begin(), twin.end(), at);
      const bool there = it != twin.end();
      ASSERT_EQ(c.find(name) != nullptr, there) << i;
      if (there) twin.erase(it);
      if (!there) c.add(name, k, e, 0, "v");
      twin.push_back({name, k, e});
      if (twin.size() > 50) twin.erase(twin.begin());
    }
    ASSERT_EQ(c.size(), twin.size()) << i;
  }
}

}  // namespace
}  // namespace quoin::cmd::grpcproxy
