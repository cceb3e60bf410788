#include "bolt/freelist.h"

#include <gtest/gtest.h>

#include <set>

#include "base/prng.h"

namespace quoin::bolt {
namespace {

std::vector<uint64_t> ids(const Freelist& f) {
  std::vector<uint64_t> v;
  for (PageId id : f.all()) v.push_back(id.v);
  return v;
}

TEST(Freelist, LowestRunFirst) {
  Freelist f;
  for (uint64_t id : {3, 5, 6, 8, 9, 10}) EXPECT_TRUE(f.add_free(PageId(id)));
  EXPECT_FALSE(f.add_free(PageId(5)));
  EXPECT_EQ(f.allocate(2), PageId(5));
  EXPECT_EQ(f.allocate(1), PageId(3));
  EXPECT_EQ(f.allocate(4), std::nullopt);
  EXPECT_EQ(f.allocate(3), PageId(8));
  EXPECT_EQ(f.allocate(1), std::nullopt);
  EXPECT_EQ(f.free_count(), 0u);
}

TEST(Freelist, PendingUntilTheNextTransaction) {
  Freelist f;
  EXPECT_TRUE(f.free_run(PageId(7), 2, TxId(10)));
  EXPECT_FALSE(f.free_run(PageId(8), 1, TxId(10)));
  EXPECT_EQ(f.allocate(1), std::nullopt);
  EXPECT_EQ(f.pending_count(), 2u);
  EXPECT_EQ(ids(f), (std::vector<uint64_t>{7, 8}));
  f.release({});
  EXPECT_EQ(f.pending_count(), 0u);
  EXPECT_EQ(f.allocate(2), PageId(7));
}

TEST(Freelist, WaitsForTheReadersThatSeeThePage) {
  struct Case {
    TxId allocated, freed;
    std::vector<TxId> readers;
    bool reusable;
  };
  const std::vector<Case> cases = {
      {TxId(0), TxId(10), {TxId(9)}, false},           // sees it
      {TxId(0), TxId(10), {TxId(10)}, true},           // opened on the commit that freed it
      {TxId(5), TxId(10), {TxId(4)}, true},            // older than the page
      {TxId(5), TxId(10), {TxId(5)}, false},           // the commit that made it
      {TxId(5), TxId(10), {TxId(3), TxId(12)}, true},  // born and dead between two readers
      {TxId(5), TxId(10), {TxId(3), TxId(7)}, false},
  };
  for (const Case& c : cases) {
    Freelist f;
    if (c.allocated != TxId()) f.note_allocated(PageId(7), c.allocated, true);
    f.release({TxId(1)});
    EXPECT_TRUE(f.free_run(PageId(7), 1, c.freed));
    f.release(c.readers);
    EXPECT_EQ(f.free_count(), c.reusable ? 1u : 0u);
  }
}

TEST(Freelist, TrimStopsAtPending) {
  Freelist f;
  for (uint64_t id : {5, 7, 8, 9}) f.add_free(PageId(id));
  f.free_run(PageId(6), 1, TxId(3));
  EXPECT_EQ(f.trim(PageId(10)), PageId(7));
  EXPECT_EQ(ids(f), (std::vector<uint64_t>{5, 6}));
  EXPECT_EQ(f.trim(PageId(7)), PageId(7));
  f.release({});
  EXPECT_EQ(f.trim(PageId(7)), PageId(5));
}

// A file of 8 GiB in which every other page is free: what a commit pays for runs of several pages does not
// grow with the number of pages that stand alone, also where it frees some at the file's start each time.
TEST(Freelist, RunsAreFoundWithoutLookingAtShorterOnes) {
  const uint64_t pages = 2u << 20;
  Freelist f;
  for (uint64_t id = 2; id < pages; id += 2) ASSERT_TRUE(f.add_free(PageId(id)));
  EXPECT_EQ(f.allocate(2), std::nullopt);
  const uint64_t commits = 100;
  uint64_t freed = 3;
  const uint64_t before = f.search_steps();
  for (uint64_t tx = 2; tx < 2 + commits; ++tx) {
    f.release({});
    for (uint64_t count = 2; count < 12; ++count) static_cast<void>(f.allocate(count));
    for (int i = 0; i < 4; ++i, freed += 2) ASSERT_TRUE(f.free_run(PageId(freed), 1, TxId(tx)));
  }
  EXPECT_LT((f.search_steps() - before) / commits, 500u);
}

// One reader that stays while commits go by: what is remembered for it follows the pages in use, not the commits.
TEST(Freelist, AReaderThatStaysCostsNoMemoryPerCommit) {
  Freelist f;
  PageId in_use(1000);
  f.note_allocated(in_use, TxId(2), true);
  for (uint64_t tx = 3; tx < 20'000; ++tx) {
    f.release({TxId(2)});
    const PageId next = f.allocate(1).value_or(PageId(1000 + tx));
    f.note_allocated(next, TxId(tx), true);
    ASSERT_TRUE(f.free_run(in_use, 1, TxId(tx)));
    in_use = next;
    ASSERT_LT(f.remembered(), 1100u);
  }
}

// Every page remembers who made it, who freed it and who can see it.
TEST(Freelist, AgreesWithASlowTwin) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Prng prng(seed);
    Freelist f;
    struct Page {
      uint64_t allocated = 0, freed = 0;
    };
    struct Run {
      uint64_t first, count;
    };
    std::map<uint64_t, Page> pages;  // in use or pending
    std::vector<Run> in_use;
    std::set<uint64_t> free;
    std::multiset<uint64_t> readers;
    uint64_t hwm = 2;
    for (uint64_t tx = 2; tx < 120; ++tx) {
      // Readers come at the newest commit, tx - 1, and go.
      if (prng.chance(1, 3)) readers.insert(tx - 1);
      while (!readers.empty() && prng.chance(1, 3)) {
        auto it = readers.begin();
        std::advance(it, static_cast<long>(prng.below(readers.size())));
        readers.erase(it);
      }
      std::vector<TxId> distinct;
      for (uint64_t r : std::set<uint64_t>(readers.begin(), readers.end())) distinct.push_back(TxId(r));
      f.release(distinct);
      for (auto it = pages.begin(); it != pages.end();) {
        const Page p = it->second;
        const auto seen = readers.lower_bound(p.allocated);
        if (p.freed != 0 && (seen == readers.end() || *seen >= p.freed)) {
          free.insert(it->first);
          it = pages.erase(it);
        } else {
          ++it;
        }
      }
      ASSERT_EQ(f.free_count(), free.size()) << "seed " << seed << " tx " << tx;
      for (uint64_t n = prng.below(6); n > 0; --n) {
        const uint64_t count = prng.chance(1, 4) ? prng.between(2, 4) : 1;
        uint64_t expected = 0;
        for (uint64_t id : free) {
          uint64_t k = 0;
          while (k < count && free.count(id + k) > 0) ++k;
          if (k == count) {
            expected = id;
            break;
          }
        }
        const auto got = f.allocate(count);
        ASSERT_EQ(got.has_value(), expected != 0);
        ASSERT_EQ(got.value_or(PageId()).v, expected);
        const uint64_t first = got ? got->v : hwm;
        if (!got) hwm += count;
        f.note_allocated(PageId(first), TxId(tx), !readers.empty());
        for (uint64_t i = 0; i < count; ++i) {
          free.erase(first + i);
          pages[first + i] = {tx, 0};
        }
        in_use.push_back({first, count});
      }
      for (uint64_t n = prng.below(6); n > 0 && !in_use.empty(); --n) {
        const size_t at = prng.below(in_use.size());
        const Run run = in_use[at];
        if (pages[run.first].allocated == tx) continue;  // a transaction frees older pages only
        in_use.erase(in_use.begin() + static_cast<long>(at));
        ASSERT_TRUE(f.free_run(PageId(run.first), run.count, TxId(tx)));
        for (uint64_t i = 0; i < run.count; ++i) pages[run.first + i].freed = tx;
      }
      const uint64_t trimmed = f.trim(PageId(hwm)).v;
      while (hwm > 2 && free.erase(hwm - 1) > 0) --hwm;
      ASSERT_EQ(trimmed, hwm);
    }
  }
}

}  // namespace
}  // namespace quoin::bolt
