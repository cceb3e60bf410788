// A key's chain of revisions: finding one takes few steps however many there are, and a cut leaves no way to
// what it cut off.
#include "mvcc/key_entry.h"

#include <gtest/gtest.h>

#include <bit>
#include <memory>
#include <vector>

#include "base/prng.h"

namespace quoin::mvcc {
namespace {

IndexPool& pool() {
  static IndexPool all;
  return all;
}
struct Destroy {
  void operator()(KeyEntry* entry) const { KeyEntry::destroy(pool(), entry); }
};
using Entry = std::unique_ptr<KeyEntry, Destroy>;

Entry make_entry(int64_t first_revision) {
  return Entry(
      KeyEntry::create(pool(), "key", RevisionNode::put({first_revision, 0}, first_revision, 1, false)));
}
void push(KeyEntry& entry, int64_t revision) {
  entry.push(pool(), RevisionNode::put({revision, 0}, 1, entry.newest()->version() + 1, revision % 2 == 0));
}
// Frees all of it; returns how many nodes it had.
size_t free_all(LinkedNode* chain) {
  size_t budget = SIZE_MAX;
  EXPECT_EQ(free_chain(pool(), chain, &budget), nullptr);
  return SIZE_MAX - budget;
}
// Skew-binary search: at most about two nodes per binary digit, each with a look at its jump.
uint64_t steps_allowed(size_t revisions) {
  return 6 * static_cast<uint64_t>(std::bit_width(revisions)) + 8;
}

TEST(KeyEntry, AMillionRevisionsAreSearchedInFewSteps) {
  constexpr int64_t kRevisions = 1'000'000;
  const Entry entry = make_entry(1);
  for (int64_t r = 2; r <= kRevisions; ++r) push(*entry, r);
  Prng prng(1);
  const auto check = [&](int64_t low) {
    for (int i = 0; i < 2'000; ++i) {
      const auto at = static_cast<int64_t>(prng.between(static_cast<uint64_t>(low), kRevisions));
      uint64_t steps = 0;
      const RevisionNode* node = entry->at(at, &steps);
      ASSERT_TRUE(node && node->main == at) << at;
      ASSERT_LE(steps, steps_allowed(kRevisions)) << at;
    }
  };
  check(1);
  EXPECT_EQ(entry->at(0), nullptr);
  // Also behind a cut, and behind another one.
  EXPECT_EQ(free_all(entry->cut_below(300'000)), 299'998u);  // the first is in the entry
  check(300'000);
  EXPECT_EQ(free_all(entry->cut_below(777'777)), 477'777u);
  check(777'777);
}

// Cuts anywhere between pushes. What is cut off is freed at once, so a pointer to it that stays is found by
// the sanitizers, and here by a wrong answer or by too many steps.
TEST(KeyEntry, CutsBetweenPushes) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Prng prng(seed);
    const Entry entry = make_entry(1);
    std::vector<int64_t> revisions{1};
    int64_t last = 1, cut = 0;
    for (int round = 0; round < 60; ++round) {
      for (uint64_t n = prng.below(200); n > 0; --n) {
        last += static_cast<int64_t>(prng.between(1, 3));
        push(*entry, last);
        revisions.push_back(last);
      }
      if (prng.chance(1, 2)) {
        cut = static_cast<int64_t>(prng.between(static_cast<uint64_t>(cut), static_cast<uint64_t>(last)));
        free_all(entry->cut_below(cut));
        while (revisions.size() > 1 && revisions[1] <= cut) revisions.erase(revisions.begin());
        // Nothing but the newest one at or below the cut, and what is newer.
        size_t left = 0;
        for (const RevisionNode* n = entry->newest(); n; n = n->older()) ++left;
        ASSERT_EQ(left, revisions.size());
      }
      for (int i = 0; i < 50; ++i) {
        const auto at = static_cast<int64_t>(prng.between(
            static_cast<uint64_t>(std::max(cut, revisions.front())), static_cast<uint64_t>(last)));
        const auto want = std::upper_bound(revisions.begin(), revisions.end(), at) - 1;
        uint64_t steps = 0;
        const RevisionNode* node = entry->at(at, &steps);
        ASSERT_TRUE(node && node->main == *want);
        ASSERT_LE(steps, steps_allowed(revisions.size()) + 12) << "of " << revisions.size();
      }
    }
  }
}

TEST(KeyEntry, AChainIsFreedInParts) {
  const Entry entry = make_entry(1);
  for (int64_t r = 2; r <= 1'000; ++r) push(*entry, r);
  LinkedNode* chain = entry->cut_below(1'000);
  int parts = 0;
  while (chain) {
    size_t budget = 100;
    chain = free_chain(pool(), chain, &budget);
    ++parts;
  }
  EXPECT_EQ(parts, 10);
  EXPECT_EQ(entry->newest()->main, 1'000);
  EXPECT_EQ(entry->newest()->older(), nullptr);
  EXPECT_EQ(entry->cut_below(1'000), nullptr);
}

TEST(KeyEntry, FlagsLeaveTheVersionAlone) {
  const Entry entry = make_entry(1);
  entry->push(pool(), RevisionNode::put({2, 7}, 1, RevisionNode::kVersionMax, true));
  EXPECT_EQ(entry->newest()->version(), RevisionNode::kVersionMax);
  EXPECT_TRUE(entry->newest()->has_lease());
  entry->push(pool(), RevisionNode::tombstone({3, 0}));
  EXPECT_TRUE(entry->newest()->is_tombstone());
  EXPECT_EQ(entry->key(), "key");
}

}  // namespace
}  // namespace quoin::mvcc
