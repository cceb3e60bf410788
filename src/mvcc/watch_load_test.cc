// Watches under load: what one call or one step does is bounded, whatever number of watchers, records and bytes
// stands behind it. Everything is counted, nothing timed.
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <vector>

#include "mvcc/fake_backend_test.h"
#include "mvcc/fake_leases_test.h"
#include "mvcc/watch.h"

namespace quoin::mvcc {
namespace {

struct WatchLoad : ::testing::Test {
  FakeBackend backend;
  FakeLeases leases;
  metrics::Registry registry;
  std::unique_ptr<Store> store = std::move(*Store::restore(backend, leases, registry));
  std::unique_ptr<WatchTable> table = std::make_unique<WatchTable>(*store, registry);

  uint64_t counter(std::string_view name) const {
    uint64_t value = UINT64_MAX;
    registry.visit([&](const metrics::Family& f) {
      if (f.name == name) value = std::get<const metrics::Counter*>(f.cells.front().source)->value();
    });
    return value;
  }
  void put(std::string_view key, std::string_view value) {
    ASSERT_TRUE(store->begin().put({.key = key, .value = value}));
    store->end();
  }
  // In one transaction.
  void put_keys(int keys) {
    WriteTxn& txn = store->begin();
    for (int k = 0; k < keys; ++k) ASSERT_TRUE(txn.put({.key = fmt::format("k{:06}", k), .value = "v"}));
    store->end();
  }
};

// Takes a few messages after each room() and counts what it is offered.
struct NarrowSink final : WatchSink {
  size_t room = 0, offered = 0, taken = 0, events = 0;
  std::set<int64_t> served;     // watchers
  std::set<const char*> tails;  // of what was offered
  std::vector<Blob> kept;       // so that no address is used twice
  std::unique_ptr<CatchUp> work;
  void control(WatchMessage) override {}
  bool deliver(const WatchMessage& m) override {
    ++offered;
    if (tails.insert(m.events.view().data()).second) kept.push_back(m.events);
    if (room == 0) return false;
    --room;
    ++taken;
    events += m.event_count;
    served.insert(m.watch_id);
    return true;
  }
  void catch_up(std::unique_ptr<CatchUp> w) override {
    ASSERT_EQ(work, nullptr);
    work = std::move(w);
  }
  size_t header_bytes(int64_t) const override { return 24; }
};

// Very many watchers of one key on a stream that stops reading: per call one response is made and refused,
// however many watchers wait, and all of them share what was encoded.
TEST_F(WatchLoad, AStreamThatDoesNotReadCostsOneTailPerCall) {
  constexpr size_t kWatchers = 1'000;
  NarrowSink sink;
  const StreamId s = table->open_stream(sink);
  for (size_t i = 0; i < kWatchers; ++i) table->create(s, {.key = "a"});
  for (int i = 0; i < 10; ++i) {
    put("a", std::string(10'000, 'v'));
    table->publish();
  }
  EXPECT_EQ(sink.offered, 1u);
  EXPECT_EQ(table->slow_watchers(), kWatchers);
  // Each time there is room for 100 messages. They come in passes over what was missed, so that a handful of
  // tails serve all; without sharing there would be one per watcher.
  sink.tails.clear();
  size_t calls = 0;
  while (table->slow_watchers() > 0 && ++calls < 1'000) {
    sink.room = 100;
    const size_t before = sink.offered;
    if (sink.work) {
      const auto outcome = sink.work->step(store->views().load(), 100'000,
                                           [&](const WatchMessage& m) { return sink.deliver(m); });
      ASSERT_TRUE(outcome);
      ASSERT_LE(sink.offered - before, 101u);  // nothing more is offered after a refusal
      if (*outcome == CatchUp::Outcome::kDone) table->caught_up(std::move(sink.work));
    } else {
      table->has_room(s);
      ASSERT_LE(sink.offered - before, 101u);
    }
  }
  EXPECT_EQ(sink.events, 10 * kWatchers);
  EXPECT_LE(sink.tails.size(), 30u);
}

// Few revisions may be many records: apply reads a bounded number of them, the loop the rest.
TEST_F(WatchLoad, SmallGapsOfManyRecordsGoToTheLoop) {
  for (int i = 0; i < 100; ++i) {
    WriteTxn& txn = store->begin();
    for (int k = 0; k < 100; ++k) ASSERT_TRUE(txn.put({.key = fmt::format("k{:03}", k), .value = "v"}));
    store->end();
  }
  table->publish();
  NarrowSink q;
  q.room = SIZE_MAX;
  table->create(table->open_stream(q), {.key = "k", .range_end = "l", .start_revision = 2});
  size_t events = q.events;
  EXPECT_EQ(events, 1'000u);
  std::unique_ptr<CatchUp> work = std::move(q.work);
  ASSERT_NE(work, nullptr);
  for (;;) {
    size_t in_step = 0;
    const auto outcome = work->step(store->views().load(), SIZE_MAX, [&](const WatchMessage& m) {
      in_step += m.event_count;
      return true;
    });
    ASSERT_TRUE(outcome);
    EXPECT_LE(in_step, kCatchUpStepRecords + 100);  // the last revision is read to its end
    events += in_step;
    if (*outcome == CatchUp::Outcome::kDone) break;
  }
  EXPECT_EQ(events, 10'000u);
  EXPECT_EQ(table->slow_watchers(), 1u);
  table->caught_up(std::move(work));
  EXPECT_EQ(table->slow_watchers(), 0u);
  EXPECT_EQ(counter("etcd_debugging_mvcc_events_total"), 10'000u);
}

// A step is bounded in bytes too, and what a refused response holds is one step's.
TEST_F(WatchLoad, AStepOfLargeValuesIsShort) {
  for (int i = 0; i < 300; ++i) put("a", std::string(100'000, 'v'));
  table->publish();
  NarrowSink q;
  q.room = SIZE_MAX;
  table->create(table->open_stream(q), {.key = "a", .start_revision = 2});
  std::unique_ptr<CatchUp> work = std::move(q.work);
  ASSERT_NE(work, nullptr);
  int steps = 0;
  for (bool refuse = true, done = false; !done; refuse = !refuse, ++steps) {
    size_t bytes = 0;
    const auto outcome = work->step(store->views().load(), SIZE_MAX, [&](const WatchMessage& m) {
      bytes += m.events.size();
      return !refuse;
    });
    ASSERT_TRUE(outcome);
    EXPECT_LE(bytes, 2 * (kCatchUpStepBytes + 101'000));  // the refused one and one of this step
    done = *outcome == CatchUp::Outcome::kDone;
    EXPECT_EQ(*outcome == CatchUp::Outcome::kBlocked, refuse);
  }
  EXPECT_GE(steps, 25);
}

// More watchers wait than one look takes: all get their turn, whatever their ids.
TEST_F(WatchLoad, EveryWaitingWatcherGetsItsTurn) {
  NarrowSink sink;
  const StreamId s = table->open_stream(sink);
  constexpr int64_t kWatchers = 2'000;
  for (int64_t i = 0; i < kWatchers; ++i) table->create(s, {.key = fmt::format("{:05}", i)});
  const auto put_all = [&] {
    WriteTxn& txn = store->begin();
    for (int64_t i = 0; i < kWatchers; ++i)
      ASSERT_TRUE(txn.put({.key = fmt::format("{:05}", i), .value = "v"}));
    store->end();
    table->publish();
  };
  put_all();
  for (int round = 0; round < 25 && sink.served.size() < kWatchers; ++round) {
    put_all();  // those served are behind again
    sink.room = 100;
    table->has_room(s);
    while (sink.work) {
      const auto outcome = sink.work->step(store->views().load(), SIZE_MAX,
                                           [&](const WatchMessage& m) { return sink.deliver(m); });
      ASSERT_TRUE(outcome);
      if (*outcome == CatchUp::Outcome::kBlocked) sink.room = 100;
      if (*outcome == CatchUp::Outcome::kDone) table->caught_up(std::move(sink.work));
    }
  }
  EXPECT_EQ(sink.served.size(), static_cast<size_t>(kWatchers));
}

// One change of very many keys is one response, but not one task: neither where a synced watcher is sent it...
TEST_F(WatchLoad, OneLargeRevisionIsSentInSteps) {
  NarrowSink sink;
  sink.room = SIZE_MAX;
  const StreamId s = table->open_stream(sink);
  table->create(s, {.key = "k", .range_end = "l"});
  table->create(s, {.key = "k", .range_end = "l", .prev_kv = true, .fragment = true});
  put_keys(20'000);
  size_t steps = 1;
  while (!table->publish_step()) ++steps;
  EXPECT_EQ(sink.events, 40'000u);
  EXPECT_EQ(sink.taken, 2u);
  // Each event is at least taken up (2), met twice (2), and sized and encoded for each of the two (4).
  EXPECT_GE(steps, 20'000 * 8 / kPublishStepWork);
  // A call that comes in the middle finds everything sent.
  put_keys(20'000);
  EXPECT_FALSE(table->publish_step());
  table->cancel(s, 0);
  EXPECT_EQ(sink.events, 80'000u);
  EXPECT_TRUE(table->publish_step());
}

// ... nor where one that was behind reads it, and the response is whole all the same.
TEST_F(WatchLoad, OneLargeRevisionIsReadInSteps) {
  put_keys(20'000);
  table->publish();
  NarrowSink sink;
  sink.room = SIZE_MAX;
  table->create(table->open_stream(sink), {.key = "k", .range_end = "l", .start_revision = 2});
  EXPECT_EQ(sink.events, 0u);  // apply gave it up
  std::unique_ptr<CatchUp> work = std::move(sink.work);
  ASSERT_NE(work, nullptr);
  const auto step = [&] {
    return *work->step(store->views().load(), SIZE_MAX,
                       [&](const WatchMessage& m) { return sink.deliver(m); });
  };
  // One that cannot write gives the view back and begins again.
  EXPECT_EQ(step(), CatchUp::Outcome::kMore);
  std::weak_ptr<const ReadView> held = store->published();
  put("other", "v");
  table->publish();
  EXPECT_FALSE(held.expired());
  work->let_go();
  EXPECT_TRUE(held.expired());
  size_t steps = 1;
  while (step() == CatchUp::Outcome::kMore) ++steps;
  EXPECT_EQ(sink.events, 20'000u);
  EXPECT_EQ(sink.taken, 1u);
  EXPECT_GE(steps, 20'000 / kCatchUpStepRecords);
  table->caught_up(std::move(work));
  EXPECT_EQ(table->slow_watchers(), 0u);
}

// A client that stops reading at any moment makes the work begin again, and loses nothing.
TEST_F(WatchLoad, GivenUpAnywhereNothingIsLost) {
  put_keys(5'000);
  for (int i = 0; i < 1'500; ++i) put("k", "v");
  table->publish();
  for (size_t upto = 1; upto < 20; ++upto) {
    NarrowSink sink;
    sink.room = SIZE_MAX;
    const StreamId s = table->open_stream(sink);
    table->create(s, {.key = "k", .range_end = "l", .start_revision = 2});
    std::unique_ptr<CatchUp> work = std::move(sink.work);
    for (size_t n = 1;; ++n) {
      const auto outcome =
          work->step(store->views().load(), SIZE_MAX, [&](const WatchMessage& m) { return sink.deliver(m); });
      ASSERT_TRUE(outcome);
      if (*outcome == CatchUp::Outcome::kDone) break;
      if (n % upto == 0 && n < 100) work->let_go();
    }
    ASSERT_EQ(sink.events, 6'500u) << upto;
    table->caught_up(std::move(work));
    table->close_stream(s);
  }
}

// A watcher that is cancelled while its response is being made is sent nothing more.
TEST_F(WatchLoad, CancelledWhileALargeRevisionIsRead) {
  put_keys(20'000);
  table->publish();
  for (size_t upto = 1; upto < 60; ++upto) {
    NarrowSink sink;
    sink.room = SIZE_MAX;
    const StreamId s = table->open_stream(sink);
    table->create(s, {.key = "k", .range_end = "l", .start_revision = 2});
    std::unique_ptr<CatchUp> work = std::move(sink.work);
    bool forgotten = false;
    for (size_t n = 1;; ++n) {
      const size_t before = sink.taken;
      const auto outcome =
          work->step(store->views().load(), SIZE_MAX, [&](const WatchMessage& m) { return sink.deliver(m); });
      ASSERT_TRUE(outcome);
      if (forgotten) {
        ASSERT_EQ(sink.taken, before);
      }
      if (*outcome == CatchUp::Outcome::kDone) break;
      if (n == upto) {
        table->cancel(s, 0);
        work->forget(0);
        forgotten = true;
      }
    }
    table->caught_up(std::move(work));
    table->close_stream(s);
  }
}

// Very many watchers of one key, and of one stream: no call goes over all of them.
TEST_F(WatchLoad, NoCallGoesOverAllWatchers) {
  constexpr size_t kWatchers = 10'000;
  NarrowSink sink;
  sink.room = SIZE_MAX;
  const StreamId s = table->open_stream(sink);
  for (size_t i = 0; i < kWatchers; ++i) table->create(s, {.key = "a", .progress_notify = true});
  put("a", "v");
  size_t most = 0;
  for (bool done = false; !done;) {
    const size_t before = sink.taken;
    done = table->publish_step();
    most = std::max(most, sink.taken - before);
  }
  EXPECT_EQ(sink.taken, kWatchers);
  EXPECT_LE(most, 1'000u);
  // Progress: a first tick finds that all were sent something, the second one tells them.
  const auto tick = [&] {
    size_t calls = 0;
    for (std::optional<int64_t> from = INT64_MIN; from; ++calls) {
      const size_t before = sink.taken;
      from = table->progress_tick(s, *from);
      EXPECT_LE(sink.taken - before, kWatchersPerTask);
    }
    return calls;
  };
  EXPECT_EQ(tick(), kWatchers / kWatchersPerTask);
  EXPECT_EQ(sink.taken, kWatchers);
  EXPECT_EQ(tick(), kWatchers / kWatchersPerTask);
  EXPECT_EQ(sink.taken, 2 * kWatchers);
  // The end of the stream; what is published meanwhile does not reach it.
  table->close_stream(s);
  EXPECT_EQ(table->watchers(), kWatchers - kWatchersPerTask);
  put("a", "v");
  table->publish();
  EXPECT_EQ(sink.taken, 2 * kWatchers);
  size_t rounds = 1;
  while (table->maintain()) ++rounds;
  EXPECT_EQ(rounds, kWatchers / kWatchersPerTask - 1);
  EXPECT_EQ(table->watchers(), 0u);
  EXPECT_EQ(table->slow_watchers(), 0u);
}

// A received snapshot meets 10,000 watchers: they fall back in steps, and all are told what they missed.
TEST_F(WatchLoad, AReplacedStoreLetsWatchersFallBackInSteps) {
  constexpr size_t kStreams = 10, kEach = kWatchersPerTask;
  put("a", "1");
  table->publish();
  std::vector<std::unique_ptr<NarrowSink>> sinks;
  for (size_t i = 0; i < kStreams; ++i) {
    sinks.push_back(std::make_unique<NarrowSink>());
    const StreamId s = table->open_stream(*sinks.back());
    // Those of odd streams wait for a later revision: they have missed nothing.
    for (size_t k = 0; k < kEach; ++k) {
      table->create(s, {.key = i % 2 == 0 ? "a" : "b", .start_revision = i % 2 == 0 ? 0 : 1'000});
    }
    sinks.back()->room = kEach;
  }
  ASSERT_EQ(table->slow_watchers(), 0u);
  FakeBackend other;
  {
    FakeLeases none;
    metrics::Registry r;
    auto theirs = std::move(*Store::restore(other, none, r));
    for (int i = 0; i < 300; ++i) {
      ASSERT_TRUE(theirs->begin().put({.key = i == 299 ? "a" : "b", .value = "x"}));
      theirs->end();
    }
  }
  StoreOptions beside;
  beside.beside = true;
  auto held = store->adopt(std::move(*Store::restore(other, leases, registry, beside)));
  table->store_replaced();
  size_t steps = 1;
  while (!table->publish_step()) ++steps;
  EXPECT_GE(steps, kStreams);
  EXPECT_LE(steps, 4 * kStreams);
  EXPECT_EQ(table->slow_watchers(), kStreams / 2 * kEach);
  for (size_t i = 0; i < kStreams; ++i) {
    NarrowSink& sink = *sinks[i];
    while (sink.work) {
      const auto outcome = sink.work->step(store->views().load(), 1'000,
                                           [&](const WatchMessage& m) { return sink.deliver(m); });
      ASSERT_TRUE(outcome);
      if (*outcome == CatchUp::Outcome::kDone) table->caught_up(std::exchange(sink.work, nullptr));
    }
    EXPECT_EQ(sink.served.size(), i % 2 == 0 ? kEach : 0);
    EXPECT_EQ(sink.events, i % 2 == 0 ? kEach : 0);
  }
  EXPECT_EQ(table->slow_watchers(), 0u);
}

}  // namespace
}  // namespace quoin::mvcc
