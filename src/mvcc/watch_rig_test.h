// A store with a watch table, and the server's part between it and a client: a queue that may refuse.
#pragma once
#include <gtest/gtest.h>

#include <deque>

#include "mvcc/fake_backend_test.h"
#include "mvcc/fake_leases_test.h"
#include "mvcc/key_value.h"
#include "mvcc/watch.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::mvcc {

struct SeenEvent {
  int64_t revision = 0;
  bool tombstone = false;
  std::string key, value;
  std::optional<std::string> prev;
  friend bool operator==(const SeenEvent&, const SeenEvent&) = default;
};
inline void PrintTo(const SeenEvent& e, std::ostream* out) {
  *out << e.revision << (e.tombstone ? " DELETE " : " PUT ") << e.key << "=" << e.value << " prev "
       << e.prev.value_or("-");
}

inline std::vector<SeenEvent> decode_events(const Blob& tail) {
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

inline constexpr size_t kHeaderBytesBesideRevision = 20;

// The server's part: a queue from apply to loop, of messages and CatchUps, with a bound on messages.
struct StreamQueue final : WatchSink {
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

struct WatchRig : ::testing::Test {
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
  std::string drain(StreamQueue& q) {
    std::string out;
    while (!q.items.empty()) {
      StreamQueue::Item item = std::move(q.items.front());
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

}  // namespace quoin::mvcc
