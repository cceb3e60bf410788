// What a watch stream is told: responses, their order, and what a slow client changes in them.
#include "mvcc/watch.h"

#include "base/prng.h"
#include "mvcc/key_range.h"
#include "mvcc/watch_rig_test.h"
#include "mvcc/watcher_set.h"

namespace quoin::mvcc {
namespace {

// ---- matching ----

TEST(WatcherSet, MatchesALinearSearch) {
  struct W {
    std::string key, end;
    size_t place = 0;
  };
  Prng prng(5);
  std::deque<W> all;
  std::set<W*> in;
  WatcherSet<W> set;
  auto word = [&] { return fmt::format("{:03}", prng.below(200)); };
  for (int step = 0; step < 20'000; ++step) {
    if (in.size() < 20 || prng.chance(1, 2)) {
      W w{word(), ""};
      if (prng.chance(1, 4)) w.end = std::string(1, '\0');
      if (prng.chance(1, 2)) w.end = w.key + fmt::format("{}", prng.below(3));
      if (prng.chance(1, 4)) w.end = word();
      if (KeyRange{w.key, w.end}.empty()) continue;
      all.push_back(w);
      in.insert(&all.back());
      set.add({all.back().key, all.back().end}, &all.back());
    } else {
      auto it = in.begin();
      std::advance(it, static_cast<std::ptrdiff_t>(prng.below(in.size())));
      set.remove({(*it)->key, (*it)->end}, *it);
      in.erase(it);
    }
    ASSERT_EQ(set.size(), in.size());
    const std::string key = prng.chance(1, 8) ? "" : word() + (prng.chance(1, 3) ? "0" : "");
    std::multiset<W*> got, want;
    set.match(key, [&](W& w) { got.insert(&w); });
    for (W* w : in) {
      if (KeyRange{w->key, w->end}.contains(key)) want.insert(w);
    }
    ASSERT_EQ(got, want) << key;
  }
}

using Watch = WatchRig;

TEST_F(Watch, CreatedEventsCancelled) {
  StreamQueue q;
  const StreamId s = table->open_stream(q);
  put("a", "0");
  table->publish();
  table->create(s, {.key = "a", .prev_kv = true});
  table->create(s, {.key = "a", .range_end = "c", .watch_id = 9});
  EXPECT_EQ(drain(q), "id 0 rev 2 created\nid 9 rev 2 created\n");
  put("a", "1");
  put("b", "2");
  erase("a");
  EXPECT_EQ(drain(q), "");  // nothing before it is published
  table->publish();
  EXPECT_EQ(drain(q),
            "id 0 rev 3 [3 a=1 was 0@2]\nid 9 rev 3 [3 a=1]\nid 9 rev 4 [4 b=2]\n"
            "id 0 rev 5 [5 -a was 1@3]\nid 9 rev 5 [5 -a]\n");
  table->cancel(s, 0);
  table->cancel(s, 77);
  put("a", "3");
  table->publish();
  EXPECT_EQ(drain(q), "id 0 rev 5 canceled\nid 9 rev 6 [6 a=3]\n");
  EXPECT_EQ(table->watchers(), 1u);
  table->close_stream(s);
  EXPECT_EQ(table->watchers(), 0u);
}

TEST_F(Watch, RefusedCreates) {
  StreamQueue q;
  const StreamId s = table->open_stream(q);
  std::vector<std::string> asked;
  const auto denied = [&](std::string_view key, std::string_view end) -> std::optional<std::string> {
    asked.push_back(fmt::format("{}|{}", key.size(), end.size()));
    return key == "secret" ? std::optional<std::string>("no") : std::nullopt;
  };
  table->create(s, {.key = "k", .start_revision = -1}, denied);
  table->create(s, {.key = "secret"}, denied);
  table->create(s, {.key = "b", .range_end = "a"}, denied);
  table->create(s, {.key = "b", .range_end = "b"}, denied);
  table->create(s, {.key = "b", .watch_id = 1}, denied);
  table->create(s, {.key = "b", .watch_id = 1}, denied);
  table->create(s, {.key = ""}, denied);
  table->create(s, {.key = "", .range_end = std::string(1, '\0')}, denied);
  EXPECT_EQ(drain(q),
            "id -1 rev 1 created canceled 'etcdserver: mvcc: required revision has been compacted'\n"
            "id -1 rev 1 created canceled 'no'\n"
            "id -1 rev 1 created canceled 'mvcc: watcher range is empty'\n"
            "id -1 rev 1 created canceled 'mvcc: watcher range is empty'\n"
            "id 1 rev 1 created\n"
            "id -1 rev 1 created canceled 'mvcc: duplicate watch ID provided on the WatchStream'\n"
            "id 0 rev 1 created\n"
            "id 2 rev 1 created\n");
  EXPECT_EQ(asked, (std::vector<std::string>{"6|0", "1|1", "1|1", "1|0", "1|0", "1|0", "1|1"}));
}

TEST_F(Watch, FiltersAndTransactions) {
  StreamQueue q;
  const StreamId s = table->open_stream(q);
  table->create(s, {.key = "", .range_end = std::string(1, '\0'), .no_delete = true});
  table->create(s, {.key = "", .range_end = std::string(1, '\0'), .prev_kv = true, .no_put = true});
  drain(q);
  WriteTxn& txn = store->begin();
  ASSERT_TRUE(txn.put({.key = "a", .value = "1"}));
  ASSERT_TRUE(txn.delete_range("a", ""));
  ASSERT_TRUE(txn.put({.key = "b", .value = "2"}));
  ASSERT_TRUE(txn.put({.key = "b", .value = "3"}));
  store->end();
  put("c", "4");
  table->publish();
  // The delete's prev_kv is the state before the revision, in which there was no a.
  EXPECT_EQ(drain(q), "id 0 rev 2 [2 a=1] [2 b=2] [2 b=3]\nid 1 rev 2 [2 -a]\nid 0 rev 3 [3 c=4]\n");
}

TEST_F(Watch, ThePastNearAndFar) {
  for (int i = 0; i < 600; ++i) put(i % 2 ? "a" : "b", fmt::format("{}", i));
  table->publish();
  StreamQueue q;
  const StreamId s = table->open_stream(q);
  table->create(s, {.key = "a", .start_revision = 598});
  EXPECT_EQ(q.items.size(), 2u);  // closed by apply itself, in one response
  EXPECT_EQ(drain(q), "id 0 rev 601 created\nid 0 rev 601 [599 a=597] [601 a=599]\n");
  table->create(s, {.key = "b", .start_revision = 2});
  EXPECT_EQ(table->slow_watchers(), 1u);
  put("b", "new");
  table->publish();
  std::string all = drain(q);
  EXPECT_EQ(all.substr(0, 36), "id 1 rev 601 created\nid 1 rev 602 [2");
  EXPECT_NE(all.find("[602 b=new]"), std::string::npos);
  EXPECT_EQ(table->slow_watchers(), 0u);
  // The future.
  table->create(s, {.key = "a", .start_revision = 605});
  for (int i = 0; i < 4; ++i) put("a", "x");
  table->publish();
  drain(q);
  put("b", "y");
  table->publish();
  EXPECT_EQ(drain(q), "id 1 rev 607 [607 b=y]\n");
}

TEST_F(Watch, ResponsesOfTheFutureStartAtTheirRevision) {
  StreamQueue q;
  const StreamId s = table->open_stream(q);
  table->create(s, {.key = "a", .start_revision = 4});
  for (int i = 0; i < 4; ++i) put("a", fmt::format("{}", i));
  table->publish();
  EXPECT_EQ(drain(q), "id 0 rev 1 created\nid 0 rev 4 [4 a=2]\nid 0 rev 5 [5 a=3]\n");
}

TEST_F(Watch, AtMostAThousandRevisionsInAResponse) {
  for (int i = 0; i < 2500; ++i) put("a", "x");
  table->publish();
  StreamQueue q;
  const StreamId s = table->open_stream(q);
  table->create(s, {.key = "a", .start_revision = 2});
  ASSERT_EQ(q.items.size(), 2u);
  q.items.pop_front();
  auto work = std::move(q.items.front().work);
  q.items.pop_front();
  std::vector<size_t> sizes;
  CatchUp::Outcome outcome = CatchUp::Outcome::kMore;
  while (outcome == CatchUp::Outcome::kMore) {
    outcome = *work->step(store->views().load(), 100'000, [&](const WatchMessage& m) {
      sizes.push_back(m.event_count);
      EXPECT_EQ(m.header_revision, 2501);
      return true;
    });
  }
  EXPECT_EQ(outcome, CatchUp::Outcome::kDone);
  EXPECT_EQ(sizes, (std::vector<size_t>{1000, 1000, 500}));
}

TEST_F(Watch, Compacted) {
  put("a", "1");
  put("a", "2");
  erase("a");
  put("b", "3");
  compact(4);
  StreamQueue q;
  const StreamId s = table->open_stream(q);
  table->create(s, {.key = "a", .start_revision = 3});
  table->create(s, {.key = "a", .start_revision = 4, .prev_kv = true});
  EXPECT_EQ(drain(q),
            "id 0 rev 5 created\nid 0 rev 0 canceled compact 4\nid 1 rev 5 created\nid 1 rev 5 [4 -a]\n");
  table->request_progress(s);
  EXPECT_EQ(drain(q), "");  // blocked by the dead watcher
  table->create(s, {.key = "z", .watch_id = 0});
  table->cancel(s, 0);
  table->request_progress(s);
  EXPECT_EQ(drain(q), "id 2 rev 5 created\nid 0 rev 5 canceled\nid -1 rev 5\n");
}

TEST_F(Watch, Progress) {
  StreamQueue q;
  const StreamId s = table->open_stream(q);
  table->request_progress(s);  // no watcher
  table->create(s, {.key = "a", .progress_notify = true});
  table->create(s, {.key = "b", .start_revision = 3});
  table->progress_tick(s);
  table->request_progress(s);  // revision 1 < 3
  EXPECT_EQ(drain(q), "id 0 rev 1 created\nid 1 rev 1 created\nid 0 rev 1\n");
  put("a", "1");
  put("b", "1");
  table->progress_tick(s);  // publishes first; an event went to watcher 0
  table->request_progress(s);
  table->progress_tick(s);
  EXPECT_EQ(drain(q), "id 0 rev 2 [2 a=1]\nid 1 rev 3 [3 b=1]\nid -1 rev 3\nid 0 rev 3\n");
}

TEST_F(Watch, ASlowStreamFallsBackAndReturns) {
  StreamQueue q, other;
  const StreamId s = table->open_stream(q), o = table->open_stream(other);
  table->create(s, {.key = "a", .prev_kv = true});
  table->create(o, {.key = "a"});
  drain(q);
  drain(other);
  q.events_max = 2;
  for (int i = 0; i < 5; ++i) put("a", fmt::format("{}", i));
  table->publish();
  EXPECT_TRUE(q.refused);
  EXPECT_EQ(table->slow_watchers(), 1u);
  EXPECT_EQ(drain(q), "id 0 rev 2 [2 a=0]\nid 0 rev 3 [3 a=1 was 0@2]\n");
  put("a", "5");
  table->publish();
  table->request_progress(s);
  EXPECT_EQ(drain(q), "");  // it waits for has_room
  table->has_room(s);
  EXPECT_EQ(drain(q), "id 0 rev 7 [4 a=2 was 1@3] [5 a=3 was 2@4] [6 a=4 was 3@5] [7 a=5 was 4@6]\n");
  put("a", "6");
  table->publish();
  EXPECT_EQ(drain(q), "id 0 rev 8 [8 a=6 was 5@7]\n");
  EXPECT_EQ(other.items.size(), 7u);
  EXPECT_EQ(table->slow_watchers(), 0u);
}

TEST_F(Watch, TailsAreSharedBetweenWatchersAndStreams) {
  StreamQueue q1, q2;
  const StreamId s1 = table->open_stream(q1), s2 = table->open_stream(q2);
  for (const StreamId s : {s1, s2}) {
    table->create(s, {.key = "a"});
    table->create(s, {.key = "", .range_end = std::string(1, '\0')});
  }
  q1.items.clear();
  q2.items.clear();
  put("a", std::string(1000, 'v'));
  table->publish();
  ASSERT_EQ(q1.items.size(), 2u);
  ASSERT_EQ(q2.items.size(), 2u);
  const char* bytes = q1.items[0].message.events.view().data();
  EXPECT_EQ(q1.items[1].message.events.view().data(), bytes);
  EXPECT_EQ(q2.items[0].message.events.view().data(), bytes);
}

struct Fragments : WatchRig {
  Fragments() { options.fragment_bytes = 300; }
};
TEST_F(Fragments, SplitOnlyWhereAskedFor) {
  StreamQueue q, plain;
  const StreamId s = table->open_stream(q), p = table->open_stream(plain);
  table->create(s, {.key = "", .range_end = std::string(1, '\0'), .fragment = true});
  table->create(p, {.key = "", .range_end = std::string(1, '\0')});
  q.items.clear();
  plain.items.clear();
  WriteTxn& txn = store->begin();
  for (int i = 0; i < 9; ++i)
    ASSERT_TRUE(txn.put({.key = fmt::format("k{}", i), .value = std::string(80, 'v')}));
  store->end();
  table->publish();
  ASSERT_EQ(plain.items.size(), 1u);
  EXPECT_EQ(plain.items[0].message.event_count, 9u);
  size_t events = 0;
  for (size_t i = 0; i < q.items.size(); ++i) {
    const WatchMessage& m = q.items[i].message;
    EXPECT_EQ(m.fragment, i + 1 < q.items.size());
    EXPECT_LT(q.header_bytes(2) + 2 + m.events.size(), 300u);
    events += m.event_count;
  }
  EXPECT_EQ(events, 9u);
  EXPECT_EQ(q.items.size(), 5u);  // two events each: 21 + 2 + 2 * 94 < 300 <= with three
  // A single event is never cut.
  q.items.clear();
  put("big", std::string(1000, 'v'));
  table->publish();
  ASSERT_EQ(q.items.size(), 1u);
  EXPECT_FALSE(q.items[0].message.fragment);
}

}  // namespace
}  // namespace quoin::mvcc
