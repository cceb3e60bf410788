// Watches against a twin that knows every event: whatever the sinks refuse, the loops delay and compaction
// takes away, each watcher gets its events in order, once, and progress never runs ahead of them.
#include "mvcc/watch.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "base/prng.h"
#include "mvcc/fake_backend_test.h"
#include "mvcc/fake_leases_test.h"
#include "mvcc/key_range.h"
#include "mvcc/key_value.h"
#include "mvcc/watcher_set.h"
#include "wire/kv.h"
#include "wire/message.h"
#include "wire/rpc.h"

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

// ---- the rig ----

struct SeenEvent {
  int64_t revision = 0;
  bool tombstone = false;
  std::string key, value;
  std::optional<std::string> prev;
  friend bool operator==(const SeenEvent&, const SeenEvent&) = default;
};
void PrintTo(const SeenEvent& e, std::ostream* out) {
  *out << e.revision << (e.tombstone ? " DELETE " : " PUT ") << e.key << "=" << e.value << " prev "
       << e.prev.value_or("-");
}

std::vector<SeenEvent> decode_events(const Blob& tail) {
  // The tail is a WatchResponse whose head is empty.
  const auto response = wire::decode<wire::etcdserverpb::WatchResponse>(tail.view());
  CHECK(response.has_value());
  std::vector<SeenEvent> out;
  for (const auto& event : response->events) {
    CHECK(event.kv.has_value());
    const auto kv = decode_key_value(event.kv->bytes);
    CHECK(kv.has_value());
    SeenEvent e{kv->mod_revision,
                event.type == wire::mvccpb::Event::EventType::kDelete,
                std::string(kv->key),
                std::string(kv->value),
                {}};
    if (e.tombstone) CHECK(kv->version == 0 && kv->create_revision == 0);
    if (event.prev_kv) {
      const auto prev = decode_key_value(event.prev_kv->bytes);
      e.prev = fmt::format("{}@{}", prev->value, prev->mod_revision);
    }
    out.push_back(std::move(e));
  }
  return out;
}

constexpr size_t kHeaderBytesBesideRevision = 20;

// The server's part: a queue from apply to loop, of messages and CatchUps, with a bound on messages.
struct Queue final : WatchSink {
  struct Item {
    WatchMessage message;
    std::unique_ptr<CatchUp> work;
  };
  std::deque<Item> items;
  size_t events_max = SIZE_MAX;
  bool refused = false, rest_of_response = false;

  void control(WatchMessage message) override { items.push_back({std::move(message), nullptr}); }
  bool deliver(const WatchMessage& message) override {
    if (!rest_of_response && items.size() >= events_max) {
      refused = true;
      return false;
    }
    rest_of_response = message.fragment;
    items.push_back({message, nullptr});
    return true;
  }
  void catch_up(std::unique_ptr<CatchUp> work) override { items.push_back({{}, std::move(work)}); }
  size_t header_bytes(int64_t revision) const override {
    size_t n = kHeaderBytesBesideRevision;
    for (auto v = static_cast<uint64_t>(revision);; v >>= 7) {
      ++n;
      if (v < 0x80) return n;
    }
  }
};

struct Base : ::testing::Test {
  std::unique_ptr<FakeBackend> backend = std::make_unique<FakeBackend>();
  FakeLeases leases;
  metrics::Registry registry;
  std::unique_ptr<Store> store = std::move(*Store::restore(*backend, leases, registry));
  WatchOptions options;
  std::unique_ptr<WatchTable> table;

  void SetUp() override { table = std::make_unique<WatchTable>(*store, registry, options); }
  void put(std::string_view key, std::string_view value) {
    ASSERT_TRUE(store->begin().put({.key = key, .value = value}));
    store->end();
  }
  void erase(std::string_view key, std::string_view end = "") {
    ASSERT_TRUE(store->begin().delete_range(key, end));
    store->end();
  }
  void compact(int64_t revision) {
    ASSERT_TRUE(store->compact(
        revision, [] {}, [] {}));
    while (backend->run() || store->maintain(100)) {
    }
  }
  static std::string text(const WatchMessage& m) {
    std::string s = fmt::format("id {} rev {}", m.watch_id, m.header_revision);
    if (m.created) s += " created";
    if (m.canceled) s += " canceled";
    if (m.fragment) s += " fragment";
    if (m.compact_revision) s += fmt::format(" compact {}", m.compact_revision);
    if (!m.cancel_reason.empty()) s += " '" + m.cancel_reason + "'";
    for (const SeenEvent& e : decode_events(m.events)) {
      s += e.tombstone ? fmt::format(" [{} -{}", e.revision, e.key)
                       : fmt::format(" [{} {}={}", e.revision, e.key, e.value);
      if (e.prev) s += " was " + *e.prev;
      s += "]";
    }
    return s;
  }
  // Everything the stream has to say, CatchUps run on the way.
  std::string drain(Queue& q) {
    std::string out;
    while (!q.items.empty()) {
      Queue::Item item = std::move(q.items.front());
      q.items.pop_front();
      if (!item.work) {
        out += text(item.message) + "\n";
        continue;
      }
      for (;;) {
        const auto outcome = item.work->step(store->views().load(), 3, [&](const WatchMessage& m) {
          out += text(m) + "\n";
          return true;
        });
        CHECK(outcome.has_value());
        if (*outcome == CatchUp::Outcome::kDone) break;
      }
      table->caught_up(std::move(item.work));
    }
    return out;
  }
};
using Watch = Base;

TEST_F(Watch, CreatedEventsCancelled) {
  Queue q;
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
  Queue q;
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
  Queue q;
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
  Queue q;
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
  Queue q;
  const StreamId s = table->open_stream(q);
  table->create(s, {.key = "a", .start_revision = 4});
  for (int i = 0; i < 4; ++i) put("a", fmt::format("{}", i));
  table->publish();
  EXPECT_EQ(drain(q), "id 0 rev 1 created\nid 0 rev 4 [4 a=2]\nid 0 rev 5 [5 a=3]\n");
}

TEST_F(Watch, AtMostAThousandRevisionsInAResponse) {
  for (int i = 0; i < 2500; ++i) put("a", "x");
  table->publish();
  Queue q;
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
  Queue q;
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
  Queue q;
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
  Queue q, other;
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
  Queue q1, q2;
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

struct Fragments : Base {
  Fragments() { options.fragment_bytes = 300; }
};
TEST_F(Fragments, SplitOnlyWhereAskedFor) {
  Queue q, plain;
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

// ---- the twin ----

struct Expected {
  SeenEvent event;  // prev filled in as if nothing were compacted
  int64_t prev_at;  // revision of the read behind prev
};

class Twin : public ::testing::TestWithParam<uint64_t> {};

struct Client {
  struct W {
    WatchRequest request;
    int64_t first = 0;  // revision from which it must get events
    std::vector<SeenEvent> got;
    bool created = false, over = false, compacted = false, in_fragments = false;
    int64_t last_header = 0;
  };
  std::unique_ptr<Queue> queue = std::make_unique<Queue>();
  StreamId id;
  std::map<int64_t, W> watchers;
  std::unique_ptr<CatchUp> work;
};

class Driver {
 public:
  explicit Driver(uint64_t seed) : prng(seed) {
    WatchOptions options;
    options.fragment_bytes = 200;
    table = std::make_unique<WatchTable>(*store, registry, options);
  }

  void write() {
    WriteTxn& txn = store->begin();
    const int64_t main = store->revision() + 1;
    for (uint64_t n = prng.between(1, 4); n > 0; --n) {
      const std::string k = fmt::format("{:02}", prng.below(30));
      if (prng.chance(2, 3)) {
        const std::string v = fmt::format("v{}", prng.below(1000));
        const auto r = txn.put({.key = k, .value = v});
        CHECK(r.has_value());
        add({main, false, k, v, {}});
      } else {
        const std::string end = prng.chance(1, 2) ? "" : k + "9";
        CHECK(txn.delete_range(k, end,
                               [&](std::string_view prev) {
                                 add({main, true, std::string(*decode_key(prev)), "", {}});
                                 return true;
                               })
                  .has_value());
      }
    }
    store->end();
    for (size_t i = fresh; i < history.size(); ++i) {
      const SeenEvent& e = history[i].event;
      if (e.tombstone) {
        before.erase(e.key);
      } else {
        before[e.key] = {e.value, e.revision};
      }
    }
    fresh = history.size();
  }
  void add(SeenEvent e) {
    // The state before the revision, not before the event. A put that creates within the revision has no
    // prev_kv; one after a delete in the same revision creates again.
    const auto it = before.find(e.key);
    bool creates = false;
    if (!e.tombstone) {
      creates = it == before.end();
      for (size_t i = fresh; i < history.size(); ++i) {
        if (history[i].event.key == e.key && history[i].event.tombstone) creates = true;
      }
    }
    if (it != before.end() && !creates) e.prev = fmt::format("{}@{}", it->second.first, it->second.second);
    history.push_back({e, e.revision - 1});
  }

  void create(Client& c) {
    Client::W w;
    w.request.key = fmt::format("{:02}", prng.below(30));
    switch (prng.below(3)) {
      case 0:
        break;
      case 1:
        w.request.range_end = std::string(1, '\0');
        break;
      default:
        w.request.range_end = w.request.key + "99";
        break;
    }
    w.request.prev_kv = prng.chance(1, 2);
    w.request.fragment = prng.chance(1, 3);
    w.request.no_put = prng.chance(1, 6);
    w.request.no_delete = prng.chance(1, 6);
    w.request.progress_notify = prng.chance(1, 2);
    const int64_t current = store->revision();
    if (prng.chance(1, 2)) {
      w.request.start_revision = static_cast<int64_t>(prng.between(1, static_cast<uint64_t>(current) + 5));
    }
    w.request.watch_id = ++next_id;
    w.first = w.request.start_revision ? w.request.start_revision : current + 1;
    c.watchers[w.request.watch_id] = w;
    table->create(c.id, w.request);
  }

  std::vector<const Expected*> expected(const Client::W& w, int64_t upto) const {
    std::vector<const Expected*> out;
    const KeyRange range{w.request.key, w.request.range_end};
    for (const Expected& e : history) {
      if (e.event.revision < w.first || e.event.revision > upto || !range.contains(e.event.key)) continue;
      if (e.event.tombstone ? w.request.no_delete : w.request.no_put) continue;
      out.push_back(&e);
    }
    return out;
  }
  // What was got is a prefix of what was expected, and at least everything up to `complete_to`.
  void check(const Client::W& w, int64_t complete_to) const {
    const auto want = expected(w, INT64_MAX);
    ASSERT_LE(w.got.size(), want.size());
    for (size_t i = 0; i < w.got.size(); ++i) {
      SeenEvent e = want[i]->event;
      if (!w.request.prev_kv) e.prev.reset();
      // prev_kv is absent where compaction was faster.
      if (e.prev && !w.got[i].prev && want[i]->prev_at < store->compact_revision()) e.prev.reset();
      ASSERT_EQ(w.got[i], e);
    }
    ASSERT_GE(w.got.size(), expected(w, complete_to).size());
  }

  void receive(Client& c, const WatchMessage& m) {
    if (m.watch_id == kStreamProgressId) {
      for (const auto& [id, w] : c.watchers) {
        if (w.over || !w.created) continue;
        ASSERT_NO_FATAL_FAILURE(check(w, m.header_revision));
      }
      return;
    }
    Client::W& w = c.watchers.at(m.watch_id);
    // A watcher that compaction cancelled may still be cancelled by the client, whose request was under way.
    if (w.compacted && m.canceled && m.compact_revision == 0) return;
    ASSERT_FALSE(w.over);
    if (m.created) {
      ASSERT_FALSE(w.created);
      w.created = true;
      return;
    }
    ASSERT_TRUE(w.created);
    if (m.canceled) {
      w.over = true;
      if (m.compact_revision) {
        ASSERT_EQ(m.header_revision, 0);
        w.compacted = true;
        ASSERT_NO_FATAL_FAILURE(check(w, w.got.empty() ? 0 : w.got.back().revision));
      }
      return;
    }
    if (m.progress()) {
      ASSERT_NO_FATAL_FAILURE(check(w, m.header_revision));
      return;
    }
    const auto events = decode_events(m.events);
    ASSERT_EQ(events.size(), m.event_count);
    // All events of a revision come in one response.
    if (!w.in_fragments && !w.got.empty()) {
      ASSERT_LT(w.got.back().revision, events.front().revision);
    }
    ASSERT_LE(events.back().revision, m.header_revision);
    w.in_fragments = m.fragment;
    w.got.insert(w.got.end(), events.begin(), events.end());
    if (w.got.size() % 16 != 0) return;  // the last check sees them all
    ASSERT_NO_FATAL_FAILURE(check(w, 0));
  }

  // One round of the stream's loop.
  void loop(Client& c, bool all) {
    for (uint64_t n = all ? UINT64_MAX : prng.below(5); n > 0 && !c.queue->items.empty(); --n) {
      Queue::Item item = std::move(c.queue->items.front());
      c.queue->items.pop_front();
      if (item.work) {
        ASSERT_EQ(c.work, nullptr);
        c.work = std::move(item.work);
      } else {
        if (item.message.canceled && c.work) c.work->forget(item.message.watch_id);
        ASSERT_NO_FATAL_FAILURE(receive(c, item.message));
      }
    }
    if (c.work) {
      bool rest = false;
      uint64_t room = all ? UINT64_MAX : prng.below(4);
      const auto outcome =
          c.work->step(store->views().load(), prng.between(1, 20), [&](const WatchMessage& m) {
            if (room == 0 && !rest) return false;
            if (room > 0) --room;
            rest = m.fragment;
            receive(c, m);
            return true;
          });
      ASSERT_TRUE(outcome);
      if (*outcome == CatchUp::Outcome::kDone) table->caught_up(std::move(c.work));
    }
    if (c.queue->refused && c.queue->items.size() < c.queue->events_max / 2 + 1) {
      c.queue->refused = false;
      table->has_room(c.id);
    }
  }

  Prng prng;
  std::unique_ptr<FakeBackend> backend = std::make_unique<FakeBackend>();
  FakeLeases leases;
  metrics::Registry registry;
  std::unique_ptr<Store> store = std::move(*Store::restore(*backend, leases, registry));
  std::unique_ptr<WatchTable> table;
  std::vector<Expected> history;
  size_t fresh = 0;
  std::map<std::string, std::pair<std::string, int64_t>> before;
  int64_t next_id = 0;
};

TEST_P(Twin, EveryWatcherGetsItsEventsInOrderOnce) {
  Driver d(GetParam());
  std::vector<Client> clients(3);
  for (Client& c : clients) {
    c.id = d.table->open_stream(*c.queue);
    c.queue->events_max = d.prng.between(2, 12);
  }
  for (int step = 0; step < 4000; ++step) {
    SCOPED_TRACE(fmt::format("seed {} step {}", GetParam(), step));
    Client& c = clients[d.prng.below(clients.size())];
    const uint64_t what = d.prng.below(100);
    if (what < 35) {
      d.write();
    } else if (what < 55) {
      d.table->publish();
    } else if (what < 60) {
      d.create(c);
    } else if (what < 63 && !c.watchers.empty()) {
      auto it = c.watchers.begin();
      std::advance(it, static_cast<std::ptrdiff_t>(d.prng.below(c.watchers.size())));
      if (it->second.created && !it->second.over) d.table->cancel(c.id, it->first);
    } else if (what < 66) {
      d.table->request_progress(c.id);
    } else if (what < 68) {
      d.table->progress_tick(c.id);
    } else if (what == 68 && d.prng.chance(1, 8)) {
      const int64_t at = static_cast<int64_t>(d.prng.between(1, static_cast<uint64_t>(d.store->revision())));
      (void)d.store
          ->compact(
              at, [] {}, [] {})
          .has_value();
    } else if (what < 71) {
      d.backend->run();
      d.store->maintain(200);
    } else if (what == 72 && d.prng.chance(1, 10)) {
      // Long out of reach: the gap outgrows what apply closes itself.
      for (int i = 0; i < 300; ++i) d.write();
    } else {
      ASSERT_NO_FATAL_FAILURE(d.loop(c, false));
    }
  }
  // Everything drains: with room, all who live are up to date.
  d.table->publish();
  auto busy = [&] {
    return d.table->slow_watchers() > 0 || std::any_of(clients.begin(), clients.end(), [](const Client& c) {
             return !c.queue->items.empty() || c.work;
           });
  };
  for (int round = 0; round < 2000 && busy(); ++round) {
    for (Client& c : clients) {
      c.queue->events_max = SIZE_MAX;
      ASSERT_NO_FATAL_FAILURE(d.loop(c, true));
    }
  }
  size_t alive = 0;
  for (Client& c : clients) {
    ASSERT_TRUE(c.queue->items.empty());
    for (const auto& [id, w] : c.watchers) {
      if (w.over) continue;
      ++alive;
      SCOPED_TRACE(fmt::format("watcher {}", id));
      ASSERT_NO_FATAL_FAILURE(d.check(w, d.store->revision()));
    }
  }
  EXPECT_GT(alive, 0u);
  EXPECT_EQ(d.table->slow_watchers(), 0u);
}
INSTANTIATE_TEST_SUITE_P(Seeds, Twin, ::testing::Range<uint64_t>(1, 13));

}  // namespace
}  // namespace quoin::mvcc
