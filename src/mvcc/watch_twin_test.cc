// Watches against a twin that knows every event: whatever the sinks refuse, the loops delay and compaction
// takes away, each watcher gets its events in order, once, and progress never runs ahead of them.
#include <map>
#include <set>

#include "base/prng.h"
#include "mvcc/key_range.h"
#include "mvcc/watch_rig_test.h"

namespace quoin::mvcc {
namespace {

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
  std::unique_ptr<StreamQueue> queue = std::make_unique<StreamQueue>();
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
      StreamQueue::Item item = std::move(c.queue->items.front());
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
