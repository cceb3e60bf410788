// A store with a few keys: HashKV's vectors, compactions and who hears of them, deletes in steps, what is
// counted.
#include "mvcc/hash_kv.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "mvcc/fake_backend_test.h"
#include "mvcc/fake_leases_test.h"
#include "mvcc/key_value.h"
#include "mvcc/store.h"

namespace quoin::mvcc {
namespace {

// ---- HashKV ----

struct Hashes : ::testing::Test {
  FakeBackend backend;
  FakeLeases leases;
  metrics::Registry registry;
  std::unique_ptr<Store> store = std::move(*Store::restore(backend, leases, registry));

  void put(std::string_view key, std::string_view value) {
    ASSERT_TRUE(store->begin().put({.key = key, .value = value}));
    store->end();
  }
  void erase(std::string_view key) {
    ASSERT_TRUE(store->begin().delete_range(key, ""));
    store->end();
  }
  void settle() {
    while (backend.run() || store->maintain(10)) {
    }
  }
  void reopen(CompactionObserver* observer = nullptr) {
    store.reset();
    StoreOptions options;
    options.compaction_observer = observer;
    store = std::move(*Store::restore(backend, leases, registry, options));
  }
  HashKvResult hash(int64_t revision) {
    auto run = HashKvRun::start(store->publish(), revision);
    CHECK(run.has_value(), "{}", run.error().text());
    while (!*run->step(1)) {
    }
    return run->result();
  }
  Code error(int64_t revision) { return HashKvRun::start(store->publish(), revision).error().code(); }
};

// spec storage-formats 7, first set.
TEST_F(Hashes, Vectors) {
  put("a", "1");
  put("b", "2");
  erase("a");
  put("b", "3");
  const uint32_t want[] = {1084519789, 2587454935, 1827592406, 1562576432, 779336658};
  for (int64_t r = 1; r <= 5; ++r) {
    EXPECT_EQ(hash(r).hash, want[r - 1]) << r;
    EXPECT_EQ(hash(r).compact_revision, -1);
    EXPECT_EQ(hash(r).hash_revision, r);
  }
  EXPECT_EQ(hash(0).hash, want[4]);
  EXPECT_EQ(hash(-3).hash, want[0]);
  EXPECT_EQ(hash(-3).hash_revision, -3);
  EXPECT_EQ(error(6), Code::kFutureRev);

  ASSERT_TRUE(store->compact(
      4, [] {}, [] {}));
  // The answer does not depend on how far the deletes are.
  EXPECT_EQ(hash(5).hash, 533074032u);
  settle();
  EXPECT_EQ(hash(5).hash, 533074032u);
  EXPECT_EQ(hash(5).compact_revision, 4);
  EXPECT_EQ(hash(4).hash, 1562576432u);  // stored by the compaction
  EXPECT_EQ(hash(4).compact_revision, -1);
  EXPECT_EQ(error(3), Code::kCompacted);
  reopen();
  EXPECT_EQ(hash(4).hash, 728145079u);
  EXPECT_EQ(hash(4).compact_revision, 4);
}

// Second set: the first four records of spec 2.3.
TEST_F(Hashes, SecondVector) {
  put("foo", "bar");
  put("foo", "bar2");
  put("a", "1");
  erase("foo");
  EXPECT_EQ(hash(5).hash, 3966920819u);
  EXPECT_EQ(hash(5).compact_revision, -1);
}

// Third set: revisions 6..14, all of version 1, above a compaction at 8. Revisions 2..5 leave nothing behind.
TEST_F(Hashes, ThirdVector) {
  put("gone", "x");
  erase("gone");
  put("gone", "x");
  erase("gone");
  put("k1", "v1");
  put("k2", "v2");
  WriteTxn& txn = store->begin();
  ASSERT_TRUE(txn.put({.key = "t1", .value = "x"}));
  ASSERT_TRUE(txn.put({.key = "t2", .value = "y"}));
  store->end();
  for (int i = 1; i <= 6; ++i) put(fmt::format("x{}", i), fmt::format("{}", i));
  ASSERT_EQ(store->revision(), 14);
  ASSERT_TRUE(store->compact(
      8, [] {}, [] {}));
  EXPECT_EQ(hash(14).hash, 770940297u);
  settle();
  EXPECT_EQ(hash(14).hash, 770940297u);
}

// Where nothing lives, the tombstone at the compact revision is still no part of the hash.
TEST_F(Hashes, ATombstoneWhereNothingLives) {
  put("a", "1");
  erase("a");
  ASSERT_TRUE(store->compact(
      3, [] {}, [] {}));
  settle();
  reopen();
  ASSERT_EQ(backend.records().size, 1u);  // the tombstone
  EXPECT_EQ(hash(3).hash, 1084519789u);   // nothing but the bucket's name
  EXPECT_EQ(hash(0).hash, 1084519789u);
}

// What lives is found out on the way: long after the first record, and only above the compact revision.
TEST_F(Hashes, TheOnlyKeyThatLivesComesLast) {
  for (int i = 0; i < 50; ++i) {
    put("gone", fmt::format("{}", i));
    erase("gone");
  }
  const int64_t nothing_lives = store->revision();
  ASSERT_TRUE(store->compact(
      nothing_lives, [] {}, [] {}));
  // Before the records are gone from the file they count only where nothing lives.
  const uint32_t of_all = hash(nothing_lives).hash;
  EXPECT_NE(of_all, 1084519789u);
  put("lives", "x");
  const uint32_t of_one = hash(0).hash;
  settle();
  EXPECT_EQ(hash(0).hash, of_one);
}

TEST_F(Hashes, TenNewestCompactionHashesAreKept) {
  for (int i = 0; i < 13; ++i) {
    put("k", fmt::format("{}", i));
    const uint32_t before = hash(store->revision()).hash;
    ASSERT_TRUE(store->compact(
        store->revision(), [] {}, [] {}));
    settle();
    EXPECT_EQ(hash(store->revision()).hash, before);
  }
  EXPECT_EQ(store->publish()->parts().hashes->size(), 10u);
  EXPECT_EQ(error(4), Code::kCompacted);
  EXPECT_EQ(hash(5).hash_revision, 5);
}

TEST_F(Hashes, ACompactionAskedForBeforeTheLastOneEndedStoresNoHash) {
  for (int i = 0; i < 6; ++i) put("k", fmt::format("{}", i));
  const uint32_t at_3 = hash(3).hash;
  ASSERT_TRUE(store->compact(
      3, [] {}, [] {}));
  ASSERT_TRUE(store->compact(
      5, [] {}, [] {}));
  settle();
  EXPECT_EQ(hash(3).hash, at_3);
  EXPECT_EQ(hash(3).compact_revision, -1);
  EXPECT_EQ(error(4), Code::kCompacted);
  EXPECT_EQ(hash(5).compact_revision, 5);  // not from the cache
}

struct Heard final : CompactionObserver {
  std::vector<std::string> lines;
  void compaction_started(int64_t revision) override { lines.push_back(fmt::format("start {}", revision)); }
  void compaction_finished(const CompactionEnd& e) override {
    lines.push_back(fmt::format("end {} after {} hash {} counts {}", e.revision, e.previous_compact_revision,
                                e.hash ? fmt::to_string(*e.hash) : "none", e.hash_counts));
  }
};

// The numbers are those of the vectors above: what a real member stores.
TEST_F(Hashes, TheObserverHearsOfEachCompaction) {
  Heard heard;
  reopen(&heard);
  put("a", "1");
  put("b", "2");
  erase("a");
  put("b", "3");
  ASSERT_TRUE(store->compact(
      1, [] {}, [] {}));
  settle();
  ASSERT_TRUE(store->compact(
      4, [] {}, [] {}));
  ASSERT_TRUE(store->compact(
      5, [] {}, [] {}));
  settle();
  const std::vector<std::string> want = {
      "start 1", "end 1 after -1 hash 1084519789 counts true",
      "start 4", "end 4 after 1 hash 1562576432 counts true",
      "start 5", "end 5 after 4 hash 533074032 counts false",
  };
  EXPECT_EQ(heard.lines, want);
}

TEST_F(Hashes, AResumedCompactionIsHeardOfAndItsHashDoesNotCount) {
  Heard heard;
  for (int i = 0; i < 4; ++i) put("k", fmt::format("{}", i));
  const uint32_t at_4 = hash(4).hash;
  ASSERT_TRUE(store->compact(
      4, [] {}, [] {}));
  store.reset();
  backend.crash(0);
  reopen(&heard);
  EXPECT_EQ(store->restored_marks().finished, -1);
  EXPECT_EQ(store->restored_marks().scheduled, 4);
  EXPECT_TRUE(store->restored_marks().resumed());
  EXPECT_EQ(heard.lines, std::vector<std::string>{"start 4"});
  settle();
  ASSERT_EQ(heard.lines.size(), 2u);
  EXPECT_EQ(heard.lines[1], fmt::format("end 4 after -1 hash {} counts false", at_4));
  reopen();
  EXPECT_EQ(store->restored_marks().finished, 4);
  EXPECT_FALSE(store->restored_marks().resumed());
}

// More than may wait: the later ones cover each other, and all callers are told.
TEST_F(Hashes, ManyCompactionsAtOnce) {
  for (int i = 0; i < 60; ++i) put("k", fmt::format("{}", i));
  int scheduled = 0, finished = 0;
  for (int64_t r = 2; r <= 50; ++r) {
    ASSERT_TRUE(store->compact(
        r, [&] { ++scheduled; }, [&] { ++finished; }));
  }
  settle();
  EXPECT_EQ(scheduled, 49);
  EXPECT_EQ(finished, 49);
  EXPECT_EQ(backend.records().size, 12u);  // revisions 50 to 61
}

TEST_F(Hashes, CallbacksOfACompaction) {
  put("k", "1");
  put("k", "2");
  std::vector<std::string> order;
  ASSERT_TRUE(store->compact(
      2, [&] { order.push_back("scheduled"); }, [&] { order.push_back("finished"); }));
  store->when_compactions_finished([&] { order.push_back("idle"); });
  EXPECT_TRUE(order.empty());
  settle();
  EXPECT_EQ(order, (std::vector<std::string>{"scheduled", "finished", "idle"}));
  store->when_compactions_finished([&] { order.push_back("at once"); });
  EXPECT_EQ(order.size(), 4u);
}

// A view from before a compaction puts index compaction off, and goes on answering.
TEST_F(Hashes, AnOpenViewPutsIndexCompactionOff) {
  for (int i = 0; i < 5; ++i) put("k", fmt::format("{}", i));
  auto old = store->publish();
  ASSERT_TRUE(store->compact(
      6, [] {}, [] {}));
  settle();
  ASSERT_TRUE(old->get("k", 3)->has_value());
  EXPECT_EQ(decode_key_value(**old->get("k", 3))->value, "1");
  old.reset();
  settle();
  EXPECT_EQ(decode_key_value(**store->publish()->get("k", 6))->value, "4");
}

TEST_F(Hashes, ReplacedByAReceivedSnapshot) {
  put("mine", "1");
  const auto old = store->publish();
  bool waited = false;
  ASSERT_TRUE(store->compact(
      2, [] {}, [&] { waited = true; }));
  FakeBackend other;
  {
    FakeLeases none;
    metrics::Registry r;
    auto theirs = std::move(*Store::restore(other, none, r));
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE(theirs->begin().put({.key = "theirs", .value = "x"}));
      theirs->end();
    }
  }
  FakeLeases fresh_leases;
  StoreOptions beside;
  beside.beside = true;
  auto fresh = Store::restore(other, fresh_leases, registry, beside);
  ASSERT_TRUE(fresh);
  EXPECT_FALSE(waited);
  EXPECT_TRUE(store->views().load()->get("mine", 2)->has_value()) << "nothing has changed yet";
  auto held = store->adopt(std::move(*fresh));
  held.reset();
  EXPECT_TRUE(waited);
  EXPECT_FALSE(store->views().load()->get("mine", 5)->has_value());
  EXPECT_EQ(store->revision(), 5);
  EXPECT_EQ(store->compact_revision(), -1);
  EXPECT_TRUE(store->publish()->get("theirs", 5)->has_value());
  EXPECT_FALSE(store->publish()->get("mine", 5)->has_value());
  EXPECT_TRUE(old->get("mine", 2)->has_value());
  backend.run();  // the old backend's callbacks find nobody
}

// A read in steps that has not ended when its revision is compacted: no newer view can serve it, and it goes on
// from the one it has, whole.
TEST_F(Hashes, ALongReadOutlivesACompaction) {
  for (int i = 0; i < 20; ++i) put(fmt::format("k{:02}", i), "old");
  const int64_t at = store->revision();
  auto scan = RangeScan::start(store->publish(), {.key = "k", .range_end = "l", .revision = at});
  ASSERT_TRUE(scan);
  size_t seen = 0;
  const auto visit = [&](std::string_view bytes) {
    EXPECT_EQ(decode_key_value(bytes)->value, "old");
    ++seen;
    return true;
  };
  ASSERT_FALSE(*scan->step(5, visit));
  for (int i = 0; i < 20; ++i) put(fmt::format("k{:02}", i), "new");
  ASSERT_TRUE(scan->renew(store->publish()));  // a newer view that still can
  ASSERT_FALSE(*scan->step(5, visit));
  ASSERT_TRUE(store->compact(
      store->revision(), [] {}, [] {}));
  settle();
  const auto renewed = scan->renew(store->publish());
  ASSERT_FALSE(renewed);
  EXPECT_EQ(renewed.error().code(), Code::kCompacted);
  ASSERT_TRUE(scan->run(visit));
  EXPECT_EQ(seen, 20u);
  EXPECT_EQ(scan->count(), 20);
}

// Index compaction waits for a view that may read below it, and goes on at a later call, whoever makes it. What
// is asked of the index in between is answered as of the whole history.
TEST_F(Hashes, IndexCompactionIsTakenUpAgain) {
  for (int i = 0; i < 5; ++i) put("k", fmt::format("{}", i));
  auto old = store->publish();
  EXPECT_FALSE(store->index_compacting());
  ASSERT_TRUE(store->compact(
      5, [] {}, [] {}));
  settle();
  EXPECT_TRUE(store->index_compacting());
  EXPECT_LT(store->index_compacted(), 5);
  EXPECT_FALSE(store->maintain(10));  // nothing can be done now
  old.reset();
  while (store->maintain(10)) {
  }
  EXPECT_FALSE(store->index_compacting());
  EXPECT_EQ(store->index_compacted(), 5);
  // Not within a transaction.
  put("k", "x");
  ASSERT_TRUE(store->compact(
      7, [] {}, [] {}));
  WriteTxn& txn = store->begin();
  ASSERT_TRUE(txn.put({.key = "k", .value = "y"}));
  EXPECT_FALSE(store->maintain(10));
  store->end();
  settle();
  EXPECT_EQ(store->index_compacted(), 7);
}

// As etcd counts: each range of a transaction, the reading of old values included, and a transaction if it has
// more than one operation.
TEST_F(Hashes, OperationsAreCounted) {
  const auto count = [&](std::string_view name) {
    uint64_t value = UINT64_MAX;
    registry.visit([&](const metrics::Family& f) {
      if (f.name == name) value = std::get<const metrics::Counter*>(f.cells.front().source)->value();
    });
    return value;
  };
  const auto counts = [&] {
    return fmt::format("range {} put {} delete {} txn {}", count("etcd_mvcc_range_total"),
                       count("etcd_mvcc_put_total"), count("etcd_mvcc_delete_total"),
                       count("etcd_mvcc_txn_total"));
  };
  put("a", "1");
  erase("a");
  EXPECT_EQ(counts(), "range 0 put 1 delete 1 txn 0");
  ASSERT_TRUE(store->begin().put({.key = "a", .value = "2", .prev_kv = true}));
  store->end();
  EXPECT_EQ(counts(), "range 1 put 2 delete 1 txn 1");
  RangeDelete range(store->begin(), "a", "b");
  for (bool done = false; !done;) {
    size_t keys = 1;
    done = *range.step(&keys, [](std::string_view) { return true; });
  }
  store->end();
  EXPECT_EQ(counts(), "range 2 put 2 delete 2 txn 2");
  store->count_ranges(1);
  EXPECT_EQ(counts(), "range 3 put 2 delete 2 txn 2");
  store->count_ranges(3);
  EXPECT_EQ(counts(), "range 6 put 2 delete 2 txn 3");
  ASSERT_TRUE(store->compact(
      2, [] {}, [] {}));
  EXPECT_EQ(counts(), "range 7 put 2 delete 2 txn 3");
}

// Each step looks at no more keys than it may, deleted ones included, and the whole is one revision.
TEST_F(Hashes, ARangeIsDeletedInSteps) {
  for (int i = 0; i < 1'000; ++i) put(fmt::format("k{:04}", i), "x");
  for (int i = 0; i < 1'000; i += 2) erase(fmt::format("k{:04}", i));
  put("l", "stays");
  const int64_t before = store->revision();
  const auto view = store->publish();
  RangeDelete range(store->begin(), "k", "l");
  int steps = 0;
  size_t visited = 0;
  const auto prev = [&](std::string_view) { return ++visited < 100; };
  for (bool done = false; !done; ++steps) {
    size_t keys = 10;
    const auto r = range.step(&keys, prev);
    ASSERT_TRUE(r);
    done = *r;
    EXPECT_EQ(store->published(), view);
  }
  EXPECT_EQ(steps, 100);
  EXPECT_EQ(range.deleted(), 500);
  EXPECT_EQ(visited, 100u);
  EXPECT_EQ(store->end(), before + 1);
  EXPECT_EQ(store->publish()->count("a", "z", store->revision()), 1);
  EXPECT_EQ(view->count("a", "z", before), 501);
}

}  // namespace
}  // namespace quoin::mvcc
