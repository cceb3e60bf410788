#include "v3rpc/elders.h"

#include <gtest/gtest.h>

#include <map>

#include "base/prng.h"

namespace quoin::v3rpc {
namespace {

// Against the obvious: all keys in a map, looked through.
TEST(EldersTest, AgreesWithAllKeysThereAre) {
  Prng draw(1);
  for (int round = 0; round < 300; ++round) {
    std::map<int64_t, std::string> all;  // by creation
    Elders elders;
    int64_t revision = 1;
    size_t known = 0, unknown = 0;
    const size_t length = draw.below(3) == 0 ? 1'000 : 5;  // so that either bound is met
    for (int step = 0; step < 200; ++step) {
      switch (draw.below(4)) {
        case 0:
        case 1:
          ++revision;
          all.emplace(revision, std::string(length, 'k') + std::to_string(revision));
          break;
        case 2:
          ++revision;
          if (all.empty()) break;
          // Mostly the oldest, as in a queue.
          if (draw.below(3) > 0) {
            all.erase(all.begin());
          } else {
            all.erase(std::next(all.begin(), static_cast<int64_t>(draw.below(all.size()))));
          }
          break;
        default: {
          if (draw.below(20) == 0 || step < 3) {
            elders.begin();
            bool more = false;
            for (const auto& [created, key] : all) {
              more = !elders.add(key, created);
              if (more) break;
            }
            if (!more) elders.add_no_more(revision);
          }
          const int64_t created = 1 + static_cast<int64_t>(draw.below(static_cast<uint64_t>(revision)));
          if (!elders.knows(created)) {
            ++unknown;
            break;
          }
          ++known;
          const auto got = elders.youngest(created, [&](const std::string& key, int64_t c) {
            const auto it = all.find(c);
            return it != all.end() && it->second == key;
          });
          const auto after = all.lower_bound(created);
          if (after == all.begin()) {
            EXPECT_FALSE(got);
          } else {
            EXPECT_EQ(got, std::prev(after)->second);
          }
        }
      }
    }
    EXPECT_GT(known + unknown, 0u);
  }
}

TEST(EldersTest, KeepsOnlySoMuch) {
  Elders elders;
  elders.begin();
  EXPECT_TRUE(elders.add(std::string(1 << 20, 'k'), 5));  // one always
  EXPECT_FALSE(elders.add("a", 6));
  EXPECT_TRUE(elders.knows(6));
  EXPECT_FALSE(elders.knows(7));
  elders.begin();
  EXPECT_FALSE(elders.knows(2));
  size_t kept = 0;
  while (elders.add("k", 10 + static_cast<int64_t>(kept))) ++kept;
  EXPECT_EQ(kept, Elders::kKept);
}

}  // namespace
}  // namespace quoin::v3rpc
