#include "backend/backend.h"

#include <gtest/gtest.h>

#include <thread>

#include "backend/member_test.h"
#include "backend/probe.h"
#include "base/coding.h"
#include "base/crc32c.h"

namespace quoin::backend {
namespace {

class BackendTest : public ::testing::TestWithParam<Kind> {
 protected:
  Member m{GetParam(), 1};
  Backend& b() { return *m.backend; }
  void put_record(int64_t main, const std::string& value, bool tombstone = false) {
    b().append({main, 0}, tombstone, Blob::copy(value));
  }
  std::string record(const View& v, int64_t main) {
    auto r = v.record({main, 0});
    return r ? std::string(*r) : "none";
  }
};
INSTANTIATE_TEST_SUITE_P(Engines, BackendTest, ::testing::Values(Kind::kMemory, Kind::kBolt), kind_name);

// For what only a real file shows.
class FileTest : public BackendTest {};
INSTANTIATE_TEST_SUITE_P(Engines, FileTest, ::testing::Values(Kind::kBolt), kind_name);

TEST_P(BackendTest, WhatIsWrittenIsReadBackBeforeAndAfterItsCommitAndAReopen) {
  m.open();
  m.on_apply([&] {
    put_record(2, "two");
    put_record(3, "three");
    b().append({4, 0}, true, Blob::copy("gone"));
    b().put(Bucket::kLease, "l1", "x");
    b().put(Bucket::kLease, "l2", "y");
    b().set_conf_state("{\"voters\":[1]}");
    b().set_consistent_index(Index(7), Term(2));
  });
  const auto look = [&] {
    const auto v = b().view();
    EXPECT_EQ(record(*v, 2), "two");
    EXPECT_EQ(record(*v, 3), "three");
    EXPECT_EQ(record(*v, 4), "none");
    EXPECT_EQ(record(*v, 5), "none");
    std::string seen;
    EXPECT_TRUE(v->scan_records({0, 0}, {100, 0}, [&](Revision r, bool tombstone, std::string_view value) {
      seen += fmt::format("{}/{}{}={} ", r.main, r.sub, tombstone ? "t" : "", value);
      return true;
    }));
    EXPECT_EQ(seen, "2/0=two 3/0=three 4/0t=gone ");
    EXPECT_EQ(b().get(Bucket::kLease, "l1"), "x");
    EXPECT_EQ(b().get(Bucket::kLease, "l3"), std::nullopt);
  };
  m.on_apply(look);
  EXPECT_EQ(b().durable_index(), Index(0));
  m.commit();
  EXPECT_EQ(b().durable_index(), Index(7));
  m.on_apply(look);
  m.close();
  m.open();
  EXPECT_EQ(b().consistent_index(), Index(7));
  EXPECT_EQ(b().consistent_term(), Term(2));
  m.on_apply(look);
  EXPECT_EQ(b().get(Bucket::kMeta, "confState"), "{\"voters\":[1]}");
  EXPECT_EQ(b().get(Bucket::kMeta, "term"), be64(2));
}

TEST_P(BackendTest, AScanOverlaysTheSegmentsOnTheFile) {
  m.open();
  const auto pairs = [&](std::string_view from, std::string_view to) {
    std::string seen;
    EXPECT_TRUE(b().scan(Bucket::kAuthUsers, from, to, [&](std::string_view k, std::string_view v) {
      seen += fmt::format("{}={} ", k, v);
      return true;
    }));
    return seen;
  };
  m.on_apply([&] {
    for (const char* k : {"b", "d", "f", "h"}) b().put(Bucket::kAuthUsers, k, "file");
  });
  m.commit();
  m.on_apply([&] {
    b().put(Bucket::kAuthUsers, "a", "new");
    b().put(Bucket::kAuthUsers, "d", "new");
    b().erase(Bucket::kAuthUsers, "f");
    b().put(Bucket::kAuthUsers, "z", "new");
    EXPECT_EQ(pairs("", ""), "a=new b=file d=new h=file z=new ");
    b().commit([] {});
  });
  m.on_apply([&] {
    // The first layer is being committed now.
    b().put(Bucket::kAuthUsers, "a", "newer");
    b().erase(Bucket::kAuthUsers, "b");
    b().put(Bucket::kAuthUsers, "f", "newer");
    EXPECT_EQ(pairs("", ""), "a=newer d=new f=newer h=file z=new ");
    EXPECT_EQ(pairs("b", "h"), "d=new f=newer ");
    EXPECT_EQ(pairs("h", "h"), "");
    EXPECT_EQ(b().get(Bucket::kAuthUsers, "b"), std::nullopt);
  });
  m.commit();
  EXPECT_EQ(pairs("", ""), "a=newer d=new f=newer h=file z=new ");
}

TEST_P(BackendTest, AnIndexThatMovedAloneWaitsForACommitSomebodyAsksFor) {
  m.open();
  m.on_apply([&] { b().set_consistent_index(Index(5), Term(1)); });
  m.world.run_for(10 * m.options.batch_interval_ns);
  EXPECT_EQ(b().durable_index(), Index(0));
  m.commit();
  EXPECT_EQ(b().durable_index(), Index(5));
  m.on_apply([&] { b().set_consistent_index(Index(6), Term(1)); });
  m.close();
  m.open();
  EXPECT_EQ(b().consistent_index(), Index(6));
}

TEST_P(BackendTest, ChangesAreCommittedAfterTheInterval) {
  m.open();
  m.on_apply([&] {
    put_record(2, "x");
    b().set_consistent_index(Index(1), Term(1));
  });
  m.world.run_for(m.options.batch_interval_ns / 2);
  EXPECT_EQ(b().durable_index(), Index(0));
  m.world.run_for(m.options.batch_interval_ns);
  EXPECT_EQ(b().durable_index(), Index(1));
}

TEST_P(BackendTest, AtTheBoundItIsFullUntilTheFrozenSegmentIsWritten) {
  m.options.batch_limit = 10;
  m.open();
  int told = 0;
  b().set_not_full_callback([&] { ++told; });
  m.on_apply([&] {
    for (int64_t i = 2; i < 11; ++i) put_record(i, "x");
    EXPECT_FALSE(b().full());
    put_record(11, "x");
    b().set_consistent_index(Index(1), Term(1));
    EXPECT_TRUE(b().full());
  });
  // Nothing is in the way of the freeze, which is a task of its own.
  m.wait([&] { return told == 1; });
  EXPECT_EQ(b().durable_index(), Index(0));
  m.on_apply([&] {
    EXPECT_FALSE(b().full());
    for (int64_t i = 12; i < 22; ++i) put_record(i, "x");
    b().set_consistent_index(Index(2), Term(1));
    EXPECT_TRUE(b().full());
  });
  m.wait([&] { return told == 2; });
  EXPECT_FALSE(b().full());
  EXPECT_EQ(b().durable_index(), Index(1));
  m.wait([&] { return b().durable_index() == Index(2); });
  EXPECT_EQ(told, 2);
}

// Whether its index is set before its changes or after them.
TEST_P(BackendTest, AnEntryIsNeverSplitBetweenTwoCommits) {
  for (const bool before : {true, false}) {
    m.options.batch_limit = 3;
    m.open();
    const uint64_t index = b().consistent_index().v + 1;
    const int64_t first = static_cast<int64_t>(index) * 100;
    m.on_apply([&] {
      if (before) b().set_consistent_index(Index(index), Term(1));
      b().commit([] {});  // asked for within the entry
      for (int64_t i = first; i < first + 10; ++i) put_record(i, "x");
      if (!before) b().set_consistent_index(Index(index), Term(1));
    });
    m.wait([&] { return b().durable_index() == Index(index); });
    m.crash();
    m.open();
    EXPECT_EQ(b().consistent_index(), Index(index));
    EXPECT_EQ(record(*b().view(), first + 9), "x");
    m.crash();
  }
}

TEST_P(BackendTest, AnEntryOfSeveralTasksHoldsTheFreeze) {
  m.open();
  m.on_apply([&] {
    b().set_consistent_index(Index(1), Term(1));
    b().put(Bucket::kMembers, "1", "{}");
    b().hold_freeze();
    b().commit([] {});
  });
  m.world.run_for(3 * m.options.batch_interval_ns);
  EXPECT_EQ(b().durable_index(), Index(0));
  m.on_apply([&] {
    b().set_conf_state("{}");
    b().release_freeze();
  });
  m.wait([&] { return b().durable_index() == Index(1); });
  m.crash();
  m.open();
  EXPECT_EQ(b().get(Bucket::kMeta, "confState"), "{}");
  EXPECT_EQ(b().get(Bucket::kMembers, "1"), "{}");
}

TEST_P(BackendTest, ManyCommitsCanBeOutstandingAndEndInOrder) {
  m.open();
  std::vector<int> ended;
  m.on_apply([&] {
    for (int i = 0; i < 20; ++i) {
      put_record(2 + i, "x");
      b().commit([&ended, i] { ended.push_back(i); });
    }
    EXPECT_TRUE(ended.empty());
  });
  m.wait([&] { return ended.size() == 20; });
  EXPECT_TRUE(std::is_sorted(ended.begin(), ended.end()));
}

TEST_P(BackendTest, ASnapshotSaysWhatItHoldsAndHoldsUpNothing) {
  m.open();
  std::shared_ptr<SnapshotSource> source;
  const auto entry = [&](uint64_t index) {
    put_record(static_cast<int64_t>(index) + 1, "x");
    b().put(Bucket::kMembers, "m", std::to_string(index));
    b().set_conf_state(std::to_string(index));
    b().set_consistent_index(Index(index), Term(index + 100));
  };
  m.on_apply([&] {
    entry(1);
    b().commit([] {});
  });
  uint64_t index = 2;
  m.on_apply([&] {
    // A segment is on its way, so the snapshot's has to wait for its freeze.
    entry(index);
    b().snapshot([&](Result<std::shared_ptr<SnapshotSource>> r) {
      ASSERT_TRUE(r);
      source = *r;
    });
  });
  while (source == nullptr) {
    m.world.run_for(io::kMillisecond / 10);
    m.on_apply([&] {
      EXPECT_FALSE(b().full());
      entry(++index);
    });
  }
  m.on_apply([&] { entry(++index); });
  const uint64_t held = source->consistent_index().v;
  EXPECT_GE(held, 2u);
  EXPECT_LT(held, index);
  EXPECT_EQ(source->consistent_term(), Term(held + 100));
  EXPECT_EQ(source->conf_state(), std::to_string(held));
  std::string members;
  EXPECT_TRUE(source->scan(Bucket::kMembers, [&](std::string_view, std::string_view value) {
    members += value;
    return true;
  }));
  EXPECT_EQ(members, std::to_string(held));
  uint64_t records = 0;
  EXPECT_TRUE(source->scan(Bucket::kKey, [&](std::string_view, std::string_view) { return ++records > 0; }));
  EXPECT_EQ(records, held);
  std::string all(source->size(), '\0');
  ASSERT_TRUE(source->read(0, all));
  std::string again(source->size(), '\0');
  for (size_t at = 0; at < all.size(); at += 1000) {
    const size_t n = std::min<size_t>(1000, all.size() - at);
    ASSERT_TRUE(source->read(at, std::span<char>(again.data() + at, n)));
  }
  EXPECT_TRUE(all == again);
  EXPECT_NE(all.find("consistent_index"), std::string::npos);
}

// Spec storage-formats 7: the buckets in order, without three keys of meta.
TEST_P(BackendTest, HashIsThatOfTheBucketsInOrder) {
  m.open();
  uint32_t want = 0;
  for (int i = 0; i < kBucketCount; ++i) {
    want = crc32c(want, bucket_name(static_cast<Bucket>(i)));
    if (static_cast<Bucket>(i) == Bucket::kAuth) want = crc32c(want, "authEnabled\x01");
    if (static_cast<Bucket>(i) == Bucket::kKey) {
      want = crc32c(crc32c(want, RevisionKey({2, 0}).view()), "v");
      want = crc32c(crc32c(want, RevisionKey({3, 1}, true).view()), "w");
    }
  }
  std::optional<Result<StateHash>> got;
  m.on_apply([&] {
    b().append({2, 0}, false, Blob::copy("v"));
    b().append({3, 1}, true, Blob::copy("w"));
    b().put(Bucket::kAuth, "authEnabled", "\x01");
    b().put(Bucket::kMeta, "storageVersion", "3.6.0");
    b().set_consistent_index(Index(9), Term(3));
    b().hash([&](Result<StateHash> r) { got = r; });
  });
  m.wait([&] { return got.has_value(); });
  ASSERT_TRUE(*got);
  EXPECT_EQ((*got)->hash, want);
  EXPECT_EQ((*got)->newest_main, 3);
}

class KeepOdd : public Compactor {
 public:
  std::vector<int64_t> seen;
  bool keep(std::string_view, Revision r, bool, std::string_view) override {
    seen.push_back(r.main);
    return r.main % 2 == 1;
  }
};

TEST_P(BackendTest, CompactionDeletesInStepsAndMarksItsEnd) {
  m.options.compaction_batch_limit = 10;
  m.open();
  auto compactor = std::make_shared<KeepOdd>();
  bool done = false;
  std::shared_ptr<const View> before;
  m.on_apply([&] {
    for (int64_t i = 2; i <= 60; ++i) put_record(i, std::to_string(i));
    before = b().view();
    b().compact(41, compactor, [&] { done = true; });
  });
  const auto started = m.world.now();
  m.wait([&] { return done; });
  // 40 records are four full steps and an empty one, with a pause between any two.
  EXPECT_GE(m.world.now() - started, 4 * m.options.compaction_sleep_ns);
  ASSERT_EQ(compactor->seen.size(), 40u);
  EXPECT_EQ(compactor->seen.front(), 2);
  EXPECT_EQ(compactor->seen.back(), 41);
  m.on_apply([&] {
    const auto now = b().view();
    for (int64_t i = 2; i <= 60; ++i) {
      EXPECT_EQ(record(*before, i), std::to_string(i));
      EXPECT_EQ(record(*now, i), i <= 41 && i % 2 == 0 ? "none" : std::to_string(i));
    }
    EXPECT_EQ(b().get(Bucket::kMeta, "finishedCompactRev"), RevisionKey({41, 0}).view());
  });
}

// A received snapshot may close the backend while the commit is under way that a compaction waits for.
TEST_P(BackendTest, ACompactionThatTheLastCommitSetsOffIsLeftOut) {
  m.open();
  auto compactor = std::make_shared<KeepOdd>();
  bool durable = false, done = false;
  std::optional<Result<>> closed;
  m.on_apply([&] {
    put_record(2, "x");
    b().commit([&] {
      durable = true;
      b().compact(2, compactor, [&] { done = true; });
    });
    b().close([&](Result<> r) { closed = r; });
  });
  m.wait([&] { return closed.has_value(); });
  EXPECT_TRUE(*closed);
  EXPECT_TRUE(durable);
  EXPECT_FALSE(done);
}

// A crash between two steps must not find the compaction finished.
TEST_P(BackendTest, ACompactionIsMarkedFinishedWithItsLastStepOnly) {
  m.options.compaction_batch_limit = 10;
  m.open();
  bool done = false;
  m.on_apply([&] {
    for (int64_t i = 2; i <= 60; ++i) put_record(i, std::to_string(i));
    b().compact(60, std::make_shared<KeepOdd>(), [&] { done = true; });
  });
  int looks = 0;
  while (!done) {
    m.world.run_for(io::kMillisecond);
    std::optional<std::string> mark;
    std::string first_even;
    m.on_apply([&] {
      mark = b().get(Bucket::kMeta, "finishedCompactRev");
      first_even = record(*b().view(), 2);
    });
    if (done || mark) break;
    if (first_even == "none") ++looks;  // steps have been committed
  }
  EXPECT_GT(looks, 10);
  EXPECT_TRUE(done || b().get(Bucket::kMeta, "finishedCompactRev").has_value());
  m.on_apply([&] { EXPECT_EQ(record(*b().view(), 60), "none"); });
}

// Nobody writes after the compaction, and a view from before it is still open.
TEST_P(FileTest, SizesAreThoseOfTheNewestCommit) {
  m.open();
  std::shared_ptr<const View> before;
  bool done = false;
  m.on_apply([&] {
    for (int64_t i = 2; i <= 2001; ++i) put_record(i, std::string(1000, 'x'));
    before = b().view();
  });
  m.commit();
  const uint64_t full = b().size_in_use();
  EXPECT_GT(full, 2'000'000u);
  m.on_apply([&] {
    before = b().view();
    b().compact(2001, std::make_shared<KeepOdd>(), [&] { done = true; });
  });
  m.wait([&] { return done; });
  EXPECT_LT(b().size_in_use(), full * 6 / 10);
  EXPECT_EQ(b().probe()->in_use_bytes.value(), static_cast<double>(b().size_in_use()));
  std::optional<Result<>> defragmented;
  m.on_apply([&] { b().defragment([&](Result<> r) { defragmented = r; }); });
  m.wait([&] { return defragmented.has_value(); });
  ASSERT_TRUE(*defragmented);
  EXPECT_LT(b().size(), full * 6 / 10);
  EXPECT_EQ(b().probe()->total_size_bytes.value(), static_cast<double>(b().size()));
}

TEST_P(BackendTest, SegmentsDoNotWaitForACompaction) {
  m.options.compaction_batch_limit = 10;
  m.options.compaction_sleep_ns = 50 * io::kMillisecond;
  m.open();
  auto compactor = std::make_shared<KeepOdd>();
  bool done = false;
  m.on_apply([&] {
    for (int64_t i = 2; i <= 500; ++i) put_record(i, "x");
    b().compact(500, compactor, [&] { done = true; });
  });
  m.world.run_for(200 * io::kMillisecond);
  int64_t longest = 0;
  for (int64_t i = 501; i < 521; ++i) {
    const auto started = m.world.now();
    m.on_apply([&] { put_record(i, "x"); });
    m.commit();
    longest = std::max(longest, m.world.now() - started);
  }
  EXPECT_FALSE(done);
  if (GetParam() == Kind::kMemory) {
    EXPECT_LT(longest, 20 * io::kMillisecond);
  }
  m.wait([&] { return done; });
}

TEST_P(BackendTest, DefragmentKeepsTheStateAndTheViews) {
  m.open();
  std::shared_ptr<const View> before;
  m.on_apply([&] {
    for (int64_t i = 2; i <= 3000; ++i) put_record(i, std::string(300, static_cast<char>('a' + i % 26)));
    b().put(Bucket::kCluster, "clusterVersion", "3.6.0");
    b().set_consistent_index(Index(3), Term(1));
  });
  m.commit();
  auto compactor = std::make_shared<KeepOdd>();
  bool compacted = false;
  m.on_apply([&] {
    before = b().view();
    b().compact(2900, compactor, [&] { compacted = true; });
  });
  m.wait([&] { return compacted; });
  const uint64_t size = b().size();
  std::optional<Result<>> done;
  m.on_apply([&] { b().defragment([&](Result<> r) { done = r; }); });
  int64_t next = 3001;
  while (!done) {
    m.on_apply([&] { put_record(next, std::to_string(next)); });
    ++next;
    m.world.run_for(io::kMillisecond);
    ASSERT_LT(next, 100000);
  }
  ASSERT_TRUE(*done) << done->error().text();
  if (GetParam() == Kind::kBolt) {
    EXPECT_LT(b().size(), size * 8 / 10);
  }
  m.commit();
  m.on_apply([&] {
    for (int64_t i = 2; i <= 3000; ++i) {
      const std::string value(300, static_cast<char>('a' + i % 26));
      ASSERT_EQ(record(*before, i), value);
      ASSERT_EQ(record(*b().view(), i), i <= 2900 && i % 2 == 0 ? "none" : value);
    }
    for (int64_t i = 3001; i < next; ++i) ASSERT_EQ(record(*b().view(), i), std::to_string(i));
  });
  before.reset();
  m.close();
  m.open();
  EXPECT_EQ(b().get(Bucket::kCluster, "clusterVersion"), "3.6.0");
  for (int64_t i = 3001; i < next; ++i) ASSERT_EQ(record(*b().view(), i), std::to_string(i));
}

TEST_P(BackendTest, ASnapshotOutlivesItsEngineAndEndsOnAnyThread) {
  m.open();
  auto engine = m.factory()->open("/data/member/snap/other", /*filling=*/true);
  ASSERT_TRUE(engine);
  Batch batch;
  batch.of(Bucket::kLease).push_back({"k", "v"});
  bool committed = false;
  (*engine)->commit(batch, [&](Result<CommitTimes> r) { committed = r.has_value(); });
  m.wait([&] { return committed; });
  auto snapshot = (*engine)->snapshot();
  engine->reset();
  std::thread([snapshot = std::move(snapshot)]() mutable {
    const auto found = snapshot->get(Bucket::kLease, "k");
    ASSERT_TRUE(found && *found);
    EXPECT_EQ(**found, "v");
    snapshot.reset();
  }).join();
}

// Or every bucket's pages would be filled to the brim for ever, and split at each put into the middle.
TEST_P(BackendTest, AfterADefragmentTheFileIsNotFilledAnyMore) {
  m.open();
  m.on_apply([&] { put_record(2, "two"); });
  m.commit();
  std::optional<Result<>> done;
  m.on_apply([&] { b().defragment([&](Result<> r) { done = r; }); });
  int filling_seen = 0;
  m.wait([&] {
    filling_seen = std::max(filling_seen, m.states->filling);
    return done.has_value();
  });
  ASSERT_TRUE(*done);
  EXPECT_EQ(filling_seen, GetParam() == Kind::kMemory ? 1 : 0);
  EXPECT_EQ(m.states->filling, 0);
}

TEST_P(BackendTest, AFailedCommitAcknowledgesNothing) {
  m.open();
  m.on_apply([&] { put_record(2, "x"); });
  m.commit();
  if (GetParam() == Kind::kMemory) {
    m.states->fail_commits_after = 0;
  } else {
    m.disk.inject({.ops = sim::kSync, .path_contains = "snap/db", .times = sim::Fault::kForever});
  }
  bool durable = false;
  std::optional<Result<StateHash>> hash;
  m.on_apply([&] {
    put_record(3, "y");
    b().set_consistent_index(Index(2), Term(1));
    b().commit([&] { durable = true; });
    b().hash([&](Result<StateHash> r) { hash = r; });
  });
  m.wait([&] { return m.failure.has_value(); });
  m.on_apply([&] { b().commit([&] { durable = true; }); });
  std::optional<Result<>> closed;
  m.on_apply([&] { b().close([&](Result<> r) { closed = r; }); });
  m.wait([&] { return closed.has_value(); });
  EXPECT_FALSE(*closed);
  EXPECT_FALSE(durable);
  ASSERT_TRUE(hash.has_value());
  EXPECT_FALSE(*hash);
  EXPECT_EQ(b().durable_index(), Index(0));
}

// Each operation on the copy fails once, while a compaction and segments go on: those do not wait for it.
TEST_P(FileTest, ADefragmentThatFailsAtAnyPointHoldsUpNoCommit) {
  m.options.compaction_batch_limit = 5;
  m.options.compaction_sleep_ns = 0;
  uint64_t failed = 0;
  for (uint64_t n = 0;; ++n) {
    SCOPED_TRACE(n);
    ASSERT_LT(n, 300u);
    // At any point of the compaction for the first operation, at some for the others.
    const uint64_t skip = n < 80 ? 0 : (n - 80) / 4 + 1;
    const uint64_t delay_ms = n < 80 ? n : n % 4;
    m.open();
    m.on_apply([&] {
      for (int64_t i = 2; i <= 100; ++i) put_record(i, "value");
    });
    m.commit();
    m.disk.inject({.ops = sim::kChangingOps, .path_contains = ".tmp.", .skip = skip});
    std::optional<Result<>> defragmented;
    bool compacted = false;
    int durable = 0;
    m.on_apply([&] { b().compact(100, std::make_shared<KeepOdd>(), [&] { compacted = true; }); });
    m.world.run_for(static_cast<int64_t>(delay_ms) * io::kMillisecond);
    m.on_apply([&] { b().defragment([&](Result<> r) { defragmented = r; }); });
    for (int64_t i = 0; i < 5; ++i) {
      m.on_apply([&] {
        put_record(1000 + i, "value");
        b().commit([&] { ++durable; });
      });
    }
    m.wait([&] { return (durable == 5 && compacted && defragmented) || m.failure; });
    if (*defragmented) break;  // what fails now is the file that took the name
    ASSERT_FALSE(m.failure) << m.failure->text();
    ++failed;
    m.crash();
  }
  EXPECT_GT(failed, 100u);
}

TEST_P(FileTest, AFullDiskEndsTheMemberAndADefragmentThatDoesNotFitEndsItself) {
  m.open();
  m.on_apply([&] {
    for (int64_t i = 2; i <= 2000; ++i) put_record(i, std::string(10'000, 'x'));
    b().set_consistent_index(Index(1), Term(1));
  });
  m.commit();
  m.disk.set_byte_limit(40u << 20);
  std::optional<Result<>> defragmented;
  m.on_apply([&] { b().defragment([&](Result<> r) { defragmented = r; }); });
  m.wait([&] { return defragmented.has_value(); });
  ASSERT_FALSE(*defragmented);
  EXPECT_EQ(defragmented->error().code(), Code::kNoSpaceOnDevice);
  m.world.run_for(io::kSecond);
  EXPECT_EQ(m.fs->list("/data/member/snap")->size(), 1u);
  m.on_apply([&] { put_record(2001, "fits"); });
  m.commit();
  EXPECT_FALSE(m.failure);
  bool durable = false;
  m.on_apply([&] {
    for (int64_t i = 2002; i <= 4500; ++i) put_record(i, std::string(10'000, 'x'));
    b().set_consistent_index(Index(2), Term(1));
    b().commit([&] { durable = true; });
  });
  m.wait([&] { return m.failure.has_value(); });
  EXPECT_EQ(m.failure->code(), Code::kNoSpaceOnDevice);
  EXPECT_FALSE(durable);
  m.crash();
  m.disk.set_byte_limit(1u << 30);
  m.open();
  EXPECT_EQ(b().consistent_index(), Index(1));
  EXPECT_EQ(record(*b().view(), 2001), "fits");
}

// The process ends between a change of the file's name and the sync of its directory, the system lives on.
// What is acknowledged afterwards outlives a power loss.
TEST(NameTest, AnOpenMakesTheFilesNameDurable) {
  for (const bool by_defragment : {false, true}) {
    for (uint64_t seed = 1; seed <= 12; ++seed) {
      SCOPED_TRACE(fmt::format("defragment {}, seed {}", by_defragment, seed));
      Member m(Kind::kBolt, seed);
      const auto write = [&](uint64_t index) {
        m.on_apply([&] { m.backend->set_consistent_index(Index(index), Term(1)); });
        m.commit();
      };
      // The first sync of a defragmentation is that of the copy's own name.
      const sim::Fault no_sync{
          .ops = sim::kSyncDir, .path_contains = "snap", .skip = by_defragment ? 1u : 0u};
      if (by_defragment) {
        m.open();
        write(1);
        m.disk.inject(no_sync);
        m.on_apply([&] { m.backend->defragment([](Result<>) {}); });
        m.wait([&] { return m.failure.has_value(); });
      } else {
        m.disk.inject(no_sync);
        EXPECT_FALSE(m.try_open());
      }
      m.process->kill();
      m.backend.reset();
      m.open();
      write(2);
      m.crash();
      m.open();
      EXPECT_EQ(m.backend->consistent_index(), Index(2));
    }
  }
}

TEST_P(BackendTest, ASecondOpenFindsTheFileLocked) {
  m.open();
  auto other_fs = sim::SimFileSystem(m.disk, *m.file);
  std::unique_ptr<EngineFactory> factory;
  if (GetParam() == Kind::kMemory) {
    factory = std::make_unique<MemoryFactory>(m.states, other_fs, m.world, *m.file);
  } else {
    factory = bolt_engine_factory(m.options, other_fs, *m.file, m.process->clock());
  }
  auto r = open_with_engine(m.options, std::move(factory), other_fs, *m.apply, *m.file, m.process->timers(),
                            m.process->clock(), *m.metrics, log::null_logger());
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kLocked);
}

TEST(RevisionKeyTest, TextsOfWhatIsNoRevision) {
  const std::string good(RevisionKey({5, 7}).view());
  EXPECT_EQ(hex_bytes(good), "00000000000000055f0000000000000007");
  auto parsed = parse_revision_key(RevisionKey({5, 7}, true).view());
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->revision, (Revision{5, 7}));
  EXPECT_TRUE(parsed->tombstone);
  EXPECT_EQ(parse_revision_key("x").error().text(), "invalid revision length: 1");
  std::string bad = good;
  bad[8] = '-';
  EXPECT_EQ(parse_revision_key(bad).error().text().substr(0, 34), "invalid separator in bucket key: 0");
  bad = good;
  bad[0] = '\x80';
  EXPECT_EQ(parse_revision_key(bad).error().text(), "negative revision: main=-9223372036854775803 sub=7");
  EXPECT_FALSE(parse_revision_key(good + "x"));
}

}  // namespace
}  // namespace quoin::backend
