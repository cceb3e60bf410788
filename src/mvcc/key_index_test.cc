// The key index against a map of histories, with views held open, and with readers on other threads.
#include "mvcc/key_index.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <thread>

#include "base/prng.h"
#include "mvcc/sort_keys.h"

namespace quoin::mvcc {
namespace {

struct Version {
  int64_t main;
  bool live;
};
using Twin = std::map<std::string, std::vector<Version>>;

bool twin_live(const std::vector<Version>& history, int64_t revision) {
  bool live = false;
  for (const Version& v : history) {
    if (v.main <= revision) live = v.live;
  }
  return live;
}

int64_t twin_count(const Twin& twin, const KeyRange& range, int64_t revision) {
  int64_t n = 0;
  for (const auto& [key, history] : twin) {
    if (range.contains(key) && twin_live(history, revision)) ++n;
  }
  return n;
}

// Keys of several shapes: shared prefixes, zero bytes, one key the prefix of another, the empty key.
std::string random_key(Prng& prng, uint64_t universe) {
  const uint64_t n = prng.below(universe);
  switch (n % 5) {
    case 0:
      return fmt::format("/registry/pods/default/pod-{:05}", n);
    case 1:
      return fmt::format("/registry/events/ns-{}/{:x}", n % 7, n * 2654435761u);
    case 2:
      return std::string(n % 23, 'a');
    case 3:
      return std::string("z") + std::string(n % 9, '\0') + static_cast<char>(n % 251);
    default:
      return fmt::format("{:x}", n * 0x9e3779b97f4a7c15ull);
  }
}

struct Rig {
  KeyIndex index;
  Twin twin;
  int64_t revision = 1;
  int64_t compacted = -1;

  void put(const std::string& key) {
    ++revision;
    const KeyEntry* entry = index.locate(key);
    const bool live = entry && entry->live();
    const auto node = live ? RevisionNode::put({revision, 0}, entry->newest()->create_revision,
                                               entry->newest()->version() + 1, false)
                           : RevisionNode::put({revision, 0}, revision, 1, false);
    index.put_located(key, node);
    twin[key].push_back({revision, true});
  }
  void erase(const std::string& key) {
    const KeyEntry* entry = index.locate(key);
    if (!entry || !entry->live()) return;
    ++revision;
    index.tombstone_located({revision, 0});
    twin[key].push_back({revision, false});
  }
};

struct OpenView {
  std::shared_ptr<const IndexView> view;
  int64_t revision;
};

void compare(const OpenView& open, const Twin& twin, int64_t compacted, Prng& prng, uint64_t universe) {
  const int64_t low = std::max<int64_t>(compacted, 1);
  const int64_t at =
      prng.chance(1, 2)
          ? open.revision
          : static_cast<int64_t>(prng.between(static_cast<uint64_t>(std::min(low, open.revision)),
                                              static_cast<uint64_t>(open.revision)));
  std::string a = random_key(prng, universe), b = random_key(prng, universe);
  if (prng.chance(1, 4)) b = std::string(1, '\0');
  if (prng.chance(1, 8)) a.clear();
  const KeyRange range{a, b};
  const IndexRef& ref = open.view->ref();
  ASSERT_EQ(ref.count(range, at, open.revision), twin_count(twin, range, at)) << "at " << at;
  std::vector<std::string> got, want;
  if (!range.single()) {
    for (IndexCursor c(ref, a, at == open.revision); c.valid() && range.before_end(c.entry().key());
         c.next()) {
      if (c.entry().live_at(at)) got.emplace_back(c.entry().key());
    }
    for (const auto& [key, history] : twin) {
      if (range.contains(key) && twin_live(history, at)) want.push_back(key);
    }
    ASSERT_EQ(got, want);
  }
  const RevisionNode* node = ref.find_live(a, at);
  const auto it = twin.find(a);
  ASSERT_EQ(node != nullptr, it != twin.end() && twin_live(it->second, at));
}

void run(uint64_t seed, uint64_t universe, int steps, int put_percent) {
  Prng prng(seed);
  Rig rig;
  std::vector<OpenView> open;
  int64_t compacting = 0;  // revision of the index compaction under way
  std::string from;
  for (int step = 0; step < steps; ++step) {
    const std::string key = random_key(prng, universe);
    if (prng.below(100) < static_cast<uint64_t>(put_percent)) {
      rig.put(key);
    } else {
      rig.erase(key);
    }
    if (prng.chance(1, 3)) {
      OpenView now{rig.index.publish(rig.revision, rig.compacted), rig.revision};
      ASSERT_NO_FATAL_FAILURE(compare(now, rig.twin, rig.compacted, prng, universe));
      if (prng.chance(1, 10)) open.push_back(now);
    }
    if (open.size() > 4 || (!open.empty() && prng.chance(1, 50))) {
      const size_t i = prng.below(open.size());
      ASSERT_NO_FATAL_FAILURE(compare(open[i], rig.twin, rig.compacted, prng, universe));
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (compacting == 0 && prng.chance(1, 400)) {
      compacting = rig.compacted = static_cast<int64_t>(prng.between(
          static_cast<uint64_t>(std::max<int64_t>(rig.compacted, 1)), static_cast<uint64_t>(rig.revision)));
      from.clear();
      rig.index.publish(rig.revision, rig.compacted);
    }
    if (compacting > 0 && !rig.index.older_view_open(compacting)) {
      if (rig.index.compact_step(compacting, 37, &from)) compacting = 0;
    }
    if (prng.chance(1, 5)) rig.index.collect(20);
    if (step % 97 == 0) rig.index.check(rig.revision);
  }
  rig.index.check(rig.revision);
  // With everything deleted and compacted nothing is left.
  open.clear();
  std::vector<std::string> keys;
  for (const auto& [key, history] : rig.twin) keys.push_back(key);
  for (const std::string& key : keys) rig.erase(key);
  ++rig.revision;
  rig.index.publish(rig.revision, rig.revision);
  ASSERT_FALSE(rig.index.older_view_open(rig.revision));
  from.clear();
  for (int i = 0; !rig.index.compact_step(rig.revision, 50, &from); ++i) {
    if (i % 11 == 0) rig.index.check(rig.revision);
  }
  rig.index.check(rig.revision);
  IndexCursor c(rig.index.ref(), "");
  EXPECT_FALSE(c.valid());
  EXPECT_EQ(rig.index.live_keys(), 0);
}

TEST(KeyIndex, MatchesAMapOfHistories) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(seed);
    run(seed, 300, 4000, 70);
    run(seed, 4000, 12000, 85);
  }
}

TEST(KeyIndex, AscendingKeysLeaveFullNodes) {
  KeyIndex index;
  int64_t revision = 1;
  for (int i = 0; i < 64 * 64; ++i) {
    ++revision;
    const std::string key = fmt::format("/registry/{:08}", i);
    ASSERT_EQ(index.locate(key), nullptr);
    index.put_located(key, RevisionNode::put({revision, 0}, revision, 1, false));
  }
  index.check(revision);
  const Node* node = index.ref().root;
  int64_t leaves = 0;
  for (int i = 0; i < node->size; ++i) leaves += as_inner(node).children[i]->leaf ? 1 : 0;
  EXPECT_EQ(index.live_keys(), 64 * 64);
  // Full leaves: at most one more than needed.
  EXPECT_LE(leaves, 65);
}

TEST(KeyIndex, BuiltFromSortedKeys) {
  Prng prng(3);
  for (const size_t size : {0u, 1u, 2u, 55u, 56u, 57u, 113u, 3136u, 3137u, 20'000u}) {
    KeyIndex index;
    std::map<std::string, bool> twin;
    while (twin.size() < size)
      twin[random_key(prng, 1u << 30) + fmt::format("{}", twin.size())] = prng.chance(3, 4);
    std::vector<KeyEntry*> entries;
    int64_t live = 0;
    for (const auto& [key, lives] : twin) {
      entries.push_back(KeyEntry::create(index.pool(), key, RevisionNode::put({2, 0}, 2, 1, false)));
      if (!lives) entries.back()->push(index.pool(), RevisionNode::tombstone({3, 0}));
      live += lives;
    }
    index.build(entries);
    index.check(3);
    EXPECT_EQ(index.live_keys(), live);
    for (const auto& [key, lives] : twin) ASSERT_EQ(index.ref().find_live(key, 3) != nullptr, lives);
    int64_t revision = 3;
    for (int i = 0; i < 3000; ++i) {
      const std::string key = random_key(prng, 5000);
      ++revision;
      index.locate(key);
      index.put_located(key, RevisionNode::put({revision, 0}, revision, 1, false));
    }
    index.check(revision);
  }
}

// The leak checker sees the pool's chunks, not what lies in them: this counts what it would have found.
TEST(KeyIndex, NothingStaysOfCompactedKeys) {
  KeyIndex index;
  const size_t empty = index.pool().used_bytes();
  int64_t revision = 1;
  Prng prng(5);
  for (int round = 0; round < 3; ++round) {
    std::shared_ptr<const IndexView> view;
    for (int i = 0; i < 20'000; ++i) {
      const std::string key = fmt::format("/registry/{:05}", prng.below(5000));
      const KeyEntry* entry = index.locate(key);
      ++revision;
      if (entry && entry->live() && prng.chance(1, 3)) {
        index.tombstone_located({revision, 0});
      } else {
        index.put_located(key, RevisionNode::put({revision, 0}, revision, 1, false));
      }
      if (i % 500 == 0) view = index.publish(revision, 1);
    }
    for (int i = 0; i < 5000; ++i) {
      const KeyEntry* entry = index.locate(fmt::format("/registry/{:05}", i));
      if (entry && entry->live()) index.tombstone_located({++revision, 0});
    }
    view.reset();
    ++revision;
    index.publish(revision, revision);
    std::string from;
    while (!index.compact_step(revision, 100, &from)) {
    }
    ++revision;
    index.publish(revision, revision);
    while (index.collect(1000)) {
    }
    EXPECT_EQ(index.live_keys(), 0);
    EXPECT_EQ(index.garbage(), 0u);
    EXPECT_EQ(index.pool().used_bytes(), empty) << "round " << round;
  }
}

TEST(SortKeys, MatchesAStableSort) {
  Prng prng(8);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> keys;
    const std::string prefix(prng.below(30), '/');
    for (uint64_t n = prng.below(300); n > 0; --n) {
      std::string key = prng.chance(1, 2) ? prefix : "";
      for (uint64_t i = prng.below(14); i > 0; --i)
        key += static_cast<char>(prng.chance(1, 2) ? prng.below(3) : 'x');
      keys.push_back(key);
    }
    std::vector<uint32_t> want(keys.size());
    std::iota(want.begin(), want.end(), 0u);
    std::stable_sort(want.begin(), want.end(), [&](uint32_t a, uint32_t b) { return keys[a] < keys[b]; });
    std::vector<SortItem> items(keys.size());
    for (uint32_t i = 0; i < items.size(); ++i) items[i].number = i;
    sort_keys(items.data(), items.data() + items.size(), 0,
              [&](uint32_t i) { return std::string_view(keys[i]); });
    for (size_t i = 0; i < items.size(); ++i) ASSERT_EQ(items[i].number, want[i]) << "round " << round;
  }
}

// Counts need no walk up to kLogRevisions back, and go on being right beyond.
TEST(KeyIndex, CountsOfThePast) {
  Rig rig;
  std::vector<int64_t> live;  // by revision
  live.resize(2);
  Prng prng(7);
  while (rig.revision < 30'000) {
    const std::string key = fmt::format("k{:04}", prng.below(3000));
    const KeyEntry* entry = rig.index.locate(key);
    const bool lives = entry && entry->live();
    if (lives && prng.chance(1, 2)) {
      ++rig.revision;
      rig.index.tombstone_located({rig.revision, 0});
      live.push_back(live.back() - 1);
    } else {
      rig.put(key);
      live.push_back(live.back() + (lives ? 0 : 1));
    }
  }
  const auto view = rig.index.publish(rig.revision, -1);
  const std::string zero(1, '\0');
  EXPECT_TRUE(view->ref().counts_at(rig.revision - kLogRevisions, rig.revision));
  EXPECT_FALSE(view->ref().counts_at(5000, rig.revision));
  for (int64_t revision = 1; revision <= rig.revision; revision += 611) {
    ASSERT_EQ(view->ref().count({zero, zero}, revision, rig.revision), live[static_cast<size_t>(revision)]);
  }
  int64_t parts = 0;
  const int64_t at = rig.revision - 7777;
  for (const auto& [a, b] : std::vector<std::pair<std::string, std::string>>{
           {"a", "k0500"}, {"k0500", "k1999"}, {"k1999", zero}}) {
    parts += view->ref().count({a, b}, at, rig.revision);
  }
  EXPECT_EQ(parts, live[static_cast<size_t>(at)]);
}

// What a view does not see is freed although it stays open.
TEST(KeyIndex, AnOldViewHoldsOnlyWhatItSees) {
  Rig rig;
  for (int i = 0; i < 1000; ++i) rig.put(fmt::format("k{:04}", i));
  auto old = rig.index.publish(rig.revision, -1);
  size_t held = 0;
  for (int i = 0; i < 2000; ++i) {
    rig.put(fmt::format("n{:04}", i));
    rig.index.publish(rig.revision, -1);
    rig.index.collect(1000);
  }
  // The old view's nodes: a thousand keys fill no more than 32 leaves, a root and some log blocks.
  for (int round = 0; round < 3; ++round) rig.index.collect(100'000);
  held = IndexRef(old->ref()).live_total(1001);
  EXPECT_EQ(held, 1000u);
  old.reset();
  EXPECT_FALSE(rig.index.collect(100'000));
}

// A step of collecting does no more than its budget, also where one key has a long history: cut off, or gone
// with its key.
TEST(KeyIndex, ALongHistoryIsFreedInSteps) {
  for (const bool dead : {false, true}) {
    Rig rig;
    rig.put("before");
    for (int i = 0; i < 10'000; ++i) rig.put("hot");
    if (dead) rig.erase("hot");
    rig.put("after");
    rig.index.publish(rig.revision, rig.revision);
    rig.index.publish(rig.revision, rig.revision);
    std::string from;
    ASSERT_TRUE(rig.index.compact_step(rig.revision, 100, &from));
    EXPECT_EQ(rig.index.ref().find("hot") == nullptr, dead);
    EXPECT_GE(rig.index.garbage(), 1u);
    rig.put("new key");  // another version, so that the view before it can close
    rig.index.publish(rig.revision, rig.revision);
    int calls = 1;
    while (rig.index.collect(100)) ++calls;
    EXPECT_GE(calls, 9'999 / 100) << dead;
    EXPECT_EQ(rig.index.garbage(), 0u) << dead;
    rig.index.check(rig.revision);
  }
}

// Batches of many creations and deletions retire thousands of nodes each. What waits to be freed does not
// grow with the number of batches, though nothing but the batches' own publication frees it.
TEST(KeyIndex, GarbageKeepsUpWithTheLoad) {
  Rig rig;
  Prng prng(4);
  size_t most_early = 0, most_late = 0;
  for (int batch = 0; batch < 60; ++batch) {
    for (int i = 0; i < 2'000; ++i) {
      const std::string key = fmt::format("k{:06}", prng.below(200'000));
      if (prng.chance(1, 2)) {
        rig.put(key);
      } else {
        rig.erase(key);
      }
    }
    rig.index.publish(rig.revision, -1);
    rig.index.collect_for_changes(256);
    size_t& most = batch < 30 ? most_early : most_late;
    most = std::max(most, rig.index.garbage());
  }
  EXPECT_LE(most_late, 2 * most_early + 1'000);
  EXPECT_LE(most_late, 5'000u);
}

// One change of very many keys retires more than a publication may free; the rest waits for collect().
TEST(KeyIndex, APublicationFreesABoundedPart) {
  Rig rig;
  constexpr int kKeys = 800'000;
  for (int i = 0; i < kKeys; ++i) rig.put(fmt::format("k{:07}", 2 * i));
  auto view = rig.index.publish(rig.revision, -1);
  // Copies every leaf.
  for (int i = 0; i < kKeys; ++i) rig.put(fmt::format("k{:07}", 2 * i + 1));
  view = rig.index.publish(rig.revision, -1);
  const size_t before = rig.index.garbage();
  EXPECT_GT(before, KeyIndex::kCollectMax);
  rig.index.collect_for_changes(256);
  EXPECT_GT(rig.index.garbage(), 0u);
  EXPECT_LE(before - rig.index.garbage(), KeyIndex::kCollectMax);
}

// Readers check what a view must always show while apply goes on: keys come in pairs that live and die
// together, and the count equals what a walk finds.
TEST(KeyIndex, ReadersOnOtherThreads) {
  KeyIndex index;
  std::mutex mutex;
  OpenView shared;
  int64_t revision = 1;
  std::atomic<bool> stop{false};
  std::atomic<int> failures{0};
  std::atomic<uint64_t> reads{0};
  shared = {index.publish(1, -1), 1};
  std::vector<std::thread> readers;
  for (uint64_t t = 0; t < 2; ++t) {
    readers.emplace_back([&, t] {
      Prng prng(100 + t);
      while (!stop.load(std::memory_order_relaxed)) {
        OpenView mine;
        {
          std::lock_guard<std::mutex> lock(mutex);
          mine = shared;
        }
        const IndexRef& ref = mine.view->ref();
        const std::string a = fmt::format("{:03}", prng.below(500));
        int64_t walked = 0;
        std::string last;
        bool paired = true;
        for (IndexCursor c(ref, a); c.valid(); c.next()) {
          if (!c.entry().live_at(mine.revision)) continue;
          ++walked;
          const std::string key(c.entry().key());
          if (key.back() == 'a') {
            if (!last.empty()) paired = false;
            last = key;
          } else {
            if (last.empty() || last.substr(0, 3) != key.substr(0, 3)) paired = false;
            last.clear();
          }
        }
        if (!paired || walked != ref.count({a, std::string_view("\0", 1)}, mine.revision, mine.revision))
          ++failures;
        ++reads;
      }
    });
  }
  Prng prng(9);
  int64_t compacted = -1;
  std::string from;
  bool compacting = false;
  for (int i = 0; i < 20'000 || reads < 50; ++i) {
    const std::string base = fmt::format("{:03}", prng.below(500));
    ++revision;
    const KeyEntry* entry = index.locate(base + "a");
    const bool live = entry && entry->live();
    const bool erase = live && prng.chance(1, 2);
    for (int sub = 0; sub < 2; ++sub) {
      const std::string key = base + (sub ? "b" : "a");
      index.locate(key);
      if (erase) {
        index.tombstone_located({revision, sub});
      } else {
        index.put_located(key, RevisionNode::put({revision, sub}, revision, 1, false));
      }
    }
    if (!compacting && i % 500 == 499) {
      compacted = revision - 50;
      compacting = true;
      from.clear();
    }
    OpenView now{index.publish(revision, compacted), revision};
    {
      std::lock_guard<std::mutex> lock(mutex);
      std::swap(shared, now);
    }
    now.view.reset();
    index.collect(50);
    if (compacting && !index.older_view_open(compacted))
      compacting = !index.compact_step(compacted, 20, &from);
  }
  stop = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(failures, 0);
  index.check(revision);
}

}  // namespace
}  // namespace quoin::mvcc
