#include "bolt/page_runs.h"

#include <gtest/gtest.h>

#include <set>

#include "base/prng.h"

namespace quoin::bolt {
namespace {

TEST(PageRuns, FindsTheLowestRunASetHas) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Prng prng(seed);
    PageRuns runs;
    std::set<uint64_t> twin;
    const uint64_t pages = prng.chance(1, 2) ? 1500 : 5000;
    for (int i = 0; i < 400; ++i) {
      // Long and short stretches, around the borders of words and blocks too.
      uint64_t first = prng.below(pages);
      if (prng.chance(1, 3)) first = first / 64 * 64;
      const uint64_t length = prng.chance(1, 4) ? prng.below(700) : prng.below(12);
      const bool put = prng.chance(1, 2);
      for (uint64_t id = first; id < first + length; ++id) {
        if (put) {
          runs.set(PageId(id));
          twin.insert(id);
        } else {
          runs.clear(PageId(id));
          twin.erase(id);
        }
      }
      for (int ask = 0; ask < 3; ++ask) {
        const uint64_t count = prng.chance(1, 3) ? prng.between(1, 1300) : prng.between(1, 10);
        std::optional<PageId> lowest;
        uint64_t run = 0, previous = 0;
        for (uint64_t id : twin) {
          run = run > 0 && id == previous + 1 ? run + 1 : 1;
          previous = id;
          if (run < count) continue;
          lowest = PageId(id - count + 1);
          break;
        }
        ASSERT_EQ(runs.lowest_run(count), lowest) << "seed " << seed << " count " << count;
      }
    }
  }
}

}  // namespace
}  // namespace quoin::bolt
