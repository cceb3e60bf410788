// Readers on threads of their own while apply writes, compacts and frees. The evidence lies in the values: in
// each revision the two halves of a pair are put with the same value or deleted together, so any view that
// shows them differ is broken. First run without threads, to try the scaffold.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/prng.h"
#include "mvcc/compaction.h"
#include "mvcc/fake_backend_test.h"
#include "mvcc/fake_leases_test.h"
#include "mvcc/hash_kv.h"
#include "mvcc/key_value.h"
#include "mvcc/store.h"

namespace quoin::mvcc {
namespace {

constexpr uint64_t kPairs = 200;

std::string name(uint64_t pair, char half) {
  return fmt::format("{:03}{}", pair, half);
}

// One reader's look at a view; false if something is wrong.
bool look(const std::shared_ptr<const ReadView>& view, Prng& prng) {
  const int64_t low = std::max<int64_t>(view->compact_revision(), 1);
  const int64_t at = prng.chance(1, 2)
                         ? view->revision()
                         : static_cast<int64_t>(prng.between(static_cast<uint64_t>(low),
                                                             static_cast<uint64_t>(view->revision())));
  const std::string from = name(prng.below(kPairs), 'a'), end(1, '\0');
  auto scan = RangeScan::start(view, {.key = from, .range_end = end, .revision = at});
  if (!scan) return false;
  int64_t seen = 0;
  std::string half, value;
  bool good = true;
  const auto done = scan->run([&](std::string_view bytes) {
    const auto kv = decode_key_value(bytes);
    good = good && kv && kv->mod_revision <= at;
    if (++seen % 2) {
      half = kv->key;
      value = kv->value;
      good = good && kv->key.back() == 'a';
    } else {
      good = good && kv->key.back() == 'b' && kv->key.substr(0, 3) == half.substr(0, 3) && kv->value == value;
    }
    return true;
  });
  if (!done || !good || seen != scan->count()) return false;
  const uint64_t pair = prng.below(kPairs);
  const auto a = view->get(name(pair, 'a'), at), b = view->get(name(pair, 'b'), at);
  if (!a || !b || a->has_value() != b->has_value()) return false;
  if (*a && decode_key_value(**a)->value != decode_key_value(**b)->value) return false;
  if (prng.chance(1, 10)) {
    // The same view hashes to the same, however the steps are cut.
    uint32_t hashes[2];
    for (uint32_t& h : hashes) {
      auto run = HashKvRun::start(view, at);
      if (!run) return false;
      while (!*run->step(prng.between(1, 100))) {
      }
      h = run->result().hash;
    }
    if (hashes[0] != hashes[1]) return false;
  }
  if (prng.chance(1, 10) && view->compact_revision() > 0) {
    // The compactor's rule, as the file strand runs it: of each pair it keeps both halves or none.
    KeepRule rule(view->parts().index, view->compact_revision(), -1);
    int balance = 0;
    const auto r = view->parts().records->scan_records(
        {0, 0}, {view->compact_revision() + 1, 0},
        [&](Revision revision, bool tombstone, std::string_view record) {
          if (rule.keep(backend::RevisionKey(revision, tombstone).view(), revision, tombstone, record)) {
            balance += decode_key(record)->back() == 'a' ? 1 : -1;
          }
          return true;
        });
    if (!r || balance != 0) return false;
  }
  return true;
}

void run(int threads, int writes) {
  FakeBackend backend;
  FakeLeases leases;
  metrics::Registry registry;
  auto store = std::move(*Store::restore(backend, leases, registry));
  std::atomic<bool> stop{false};
  std::atomic<int> failures{0};
  std::atomic<int> looks{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < threads; ++t) {
    readers.emplace_back([&, t] {
      Prng prng(static_cast<uint64_t>(t) + 1);
      while (!stop.load(std::memory_order_relaxed)) {
        if (!look(store->views().load(), prng)) ++failures;
        ++looks;
      }
    });
  }
  Prng prng(77);
  for (int i = 0; i < writes || looks < 20 * threads; ++i) {
    if (backend.records().size + 2 > FakeBackend::kRecordsMax) break;
    const uint64_t pair = prng.below(kPairs);
    WriteTxn& txn = store->begin();
    if (prng.chance(1, 3)) {
      ASSERT_TRUE(txn.delete_range(name(pair, 'a'), name(pair, 'c')));
    } else {
      const std::string value = fmt::format("{}", i);
      ASSERT_TRUE(txn.put({.key = name(pair, 'a'), .value = value}));
      ASSERT_TRUE(txn.put({.key = name(pair, 'b'), .value = value}));
    }
    store->end();
    store->publish();
    if (threads == 0 && !look(store->views().load(), prng)) ++failures;
    if (i % 300 == 299) {
      ASSERT_TRUE(store->compact(
          store->revision() - 100, [] {}, [] {}));
    }
    if (i % 10 == 0) backend.run();
    store->maintain(50);
  }
  stop = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(failures, 0);
}

TEST(StoreThreads, TheScaffold) {
  run(0, 600);
}
TEST(StoreThreads, ReadersWhileApplyWrites) {
  run(2, 5000);
}

}  // namespace
}  // namespace quoin::mvcc
