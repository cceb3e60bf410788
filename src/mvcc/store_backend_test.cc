// The store on the real backend: compaction in the file's steps, restarts and crashes, with the answers and
// hashes of before.
#include <gtest/gtest.h>

#include "backend/member_test.h"
#include "base/prng.h"
#include "mvcc/fake_leases_test.h"
#include "mvcc/hash_kv.h"
#include "mvcc/key_value.h"
#include "mvcc/store.h"

namespace quoin::mvcc {
namespace {

class StoreOnBackend : public ::testing::TestWithParam<backend::Kind> {
 protected:
  StoreOnBackend() : member(GetParam(), 1) { member.options.compaction_batch_limit = 50; }
  ~StoreOnBackend() override { store.reset(); }

  void open() {
    member.open();
    leases.of.clear();
    registry = std::make_unique<metrics::Registry>();
    member.on_apply([&] {
      auto r = Store::restore(*member.backend, leases, *registry);
      ASSERT_TRUE(r) << r.error().text();
      store = std::move(*r);
    });
  }
  void crash() {
    store.reset();
    member.crash();
  }
  void write(int transactions) {
    for (int i = 0; i < transactions; ++i) {
      member.on_apply([&] {
        WriteTxn& txn = store->begin();
        const std::string key = fmt::format("key{:02}", prng.below(60));
        if (prng.chance(1, 4)) {
          ASSERT_TRUE(txn.delete_range(key, key + "~"));
        } else {
          ASSERT_TRUE(
              txn.put({.key = key, .value = fmt::format("{}", i), .lease = LeaseId(i % 7 == 0 ? 5 : 0)}));
        }
        store->end();
        if (i % 5 == 0) store->publish();
        store->maintain(20);
      });
    }
  }
  HashKvResult hash(int64_t revision) {
    HashKvResult result;
    member.on_apply([&] {
      auto run = HashKvRun::start(store->publish(), revision);
      ASSERT_TRUE(run) << run.error().text();
      while (!*run->step(7)) {
      }
      result = run->result();
    });
    return result;
  }
  std::string everything(int64_t revision) {
    std::string s;
    member.on_apply([&] {
      auto scan = RangeScan::start(
          store->publish(), {.key = "a", .range_end = std::string_view("\0", 1), .revision = revision});
      ASSERT_TRUE(scan);
      ASSERT_TRUE(scan->run([&](std::string_view bytes) {
        const auto kv = decode_key_value(bytes);
        s += fmt::format("{}={} {} {} {}\n", kv->key, kv->value, kv->mod_revision, kv->version, kv->lease.v);
        return true;
      }));
      s += fmt::format("count {}", scan->count());
    });
    return s;
  }

  backend::Member member;
  FakeLeases leases;
  std::unique_ptr<metrics::Registry> registry;
  std::unique_ptr<Store> store;
  Prng prng{11};
};

TEST_P(StoreOnBackend, CompactsAndComesBack) {
  open();
  write(400);
  const int64_t at = store->revision() - 100, head = store->revision();
  const std::string past = everything(at), now = everything(head);
  const uint32_t hash_at = hash(at).hash;
  bool scheduled = false, finished = false;
  member.on_apply([&] {
    ASSERT_TRUE(store->compact(
        at, [&] { scheduled = true; }, [&] { finished = true; }));
    store->publish();
  });
  const uint32_t hash_head = hash(head).hash;  // with nothing deleted yet
  member.wait([&] { return scheduled; });
  member.wait([&] { return finished; });
  EXPECT_EQ(everything(at), past);
  EXPECT_EQ(everything(head), now);
  EXPECT_EQ(hash(head).hash, hash_head);
  EXPECT_EQ(hash(at).hash, hash_at);
  EXPECT_EQ(hash(at).compact_revision, -1);
  const auto attached = leases.of;
  member.on_apply([&] { store.reset(); });
  member.close();

  open();
  EXPECT_EQ(store->revision(), head);
  EXPECT_EQ(store->compact_revision(), at);
  EXPECT_EQ(leases.of, attached);
  EXPECT_EQ(everything(at), past);
  EXPECT_EQ(everything(head), now);
  EXPECT_EQ(hash(head).hash, hash_head);
}

TEST_P(StoreOnBackend, ACrashWithinACompaction) {
  open();
  write(400);
  member.commit();
  const int64_t at = store->revision() - 50, head = store->revision();
  const std::string past = everything(at), now = everything(head);
  bool scheduled = false;
  member.on_apply([&] {
    ASSERT_TRUE(store->compact(
        at, [&] { scheduled = true; }, [] {}));
  });
  member.wait([&] { return scheduled; });
  const uint32_t hash_head = hash(head).hash;
  member.world.run_until([] { return false; }, 25 * io::kMillisecond);  // some steps of it
  crash();
  open();
  EXPECT_EQ(store->compact_revision(), at);
  EXPECT_EQ(everything(at), past);
  EXPECT_EQ(everything(head), now);
  bool idle = false;
  member.on_apply([&] { store->when_compactions_finished([&] { idle = true; }); });
  member.wait([&] { return idle; });
  EXPECT_EQ(everything(at), past);
  EXPECT_EQ(hash(head).hash, hash_head);
}

INSTANTIATE_TEST_SUITE_P(Kinds, StoreOnBackend,
                         ::testing::Values(backend::Kind::kMemory, backend::Kind::kBolt), backend::kind_name);

}  // namespace
}  // namespace quoin::mvcc
