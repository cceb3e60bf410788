#include "lease/lessor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/coding.h"
#include "base/prng.h"
#include "sim/disk.h"
#include "sim/file_system.h"
#include "sim/world.h"

namespace quoin::lease {
namespace {

class Deleted : public KeyDeleter {
 public:
  std::vector<std::vector<std::string>> calls;
  void delete_keys(std::span<const std::string> keys) override {
    calls.emplace_back(keys.begin(), keys.end());
  }
};

class LessorTest : public ::testing::Test {
 protected:
  LessorTest()
      : world(1), disk(world), process(world.start_process("member")), fs(disk, process.executor("file")) {
    CHECK(fs.make_dirs("/d", 0700).has_value());
    backend::Options o;
    o.path = "/d/db";
    o.map_bytes = 1u << 30;
    auto opened = backend::Backend::open(o, fs, process.executor("apply"), process.executor("file"),
                                         process.timers(), process.clock(), metrics, log::null_logger());
    CHECK(opened.has_value());
    backend = std::move(*opened);
    make();
  }
  void make(Options options = {}) {
    registry = std::make_unique<metrics::Registry>();
    lessor = std::make_unique<Lessor>(options, process.clock(), *registry);
    lessor->set_deleter(&deleted);
    ASSERT_TRUE(lessor->recover(*backend));
  }
  std::string stored(int64_t id) {
    auto v = backend->get(backend::Bucket::kLease, be64(static_cast<uint64_t>(id)));
    return v ? hex_bytes(*v) : "none";
  }
  void pass(int64_t ns) { world.run_for(ns); }
  std::string keys(int64_t id) {
    std::string s;
    for (const auto& k : lessor->keys(LeaseId(id))) s += k + " ";
    return s;
  }

  sim::World world;
  sim::SimDisk disk;
  sim::Process& process;
  sim::SimFileSystem fs;
  metrics::Registry metrics;
  std::unique_ptr<metrics::Registry> registry;
  std::unique_ptr<backend::Backend> backend;
  Deleted deleted;
  std::unique_ptr<Lessor> lessor;
};

TEST_F(LessorTest, MinimumTtlIsOneAndAHalfElectionTimeoutsRoundedUp) {
  EXPECT_EQ(min_ttl_seconds(10, 100 * io::kMillisecond), 2);
  EXPECT_EQ(min_ttl_seconds(50, 100 * io::kMillisecond), 8);
  EXPECT_EQ(min_ttl_seconds(5, 1 * io::kSecond), 7);
  EXPECT_EQ(min_ttl_seconds(5, 200 * io::kMillisecond), 2);
}

TEST_F(LessorTest, GrantChecksInTheOrderOfTheSheet) {
  struct {
    int64_t id, ttl;
    std::string want;
  } const rows[] = {
      {1, 60, "60"},
      {2, 1, "2"},
      {3, 0, "2"},
      {4, -5, "2"},
      {-7, 9'000'000'000, "9000000000"},
      {0, 60, "etcdserver: requested lease not found"},
      {1, 60, "etcdserver: lease already exists"},
      {1, 9'000'000'001, "etcdserver: too large lease TTL"},
      {5, 9'000'000'001, "etcdserver: too large lease TTL"},
  };
  for (const auto& row : rows) {
    const auto r = lessor->grant(LeaseId(row.id), row.ttl);
    EXPECT_EQ(r ? std::to_string(*r) : std::string(r.error().text()), row.want) << row.id;
  }
  EXPECT_EQ(lessor->size(), 5u);
}

// Spec storage-formats 2.1: the example record.
TEST_F(LessorTest, TheRecordIsEtcds) {
  ASSERT_TRUE(lessor->grant(LeaseId(0x390da1fc0be82304), 3600));
  EXPECT_EQ(stored(0x390da1fc0be82304), "0884c6a0dfc0bfe8863910901c");
}

TEST_F(LessorTest, RevokeDeletesItsKeysInOrderAndTheRecord) {
  ASSERT_TRUE(lessor->grant(LeaseId(1), 10));
  ASSERT_TRUE(lessor->grant(LeaseId(2), 10));
  for (const char* k : {"c", "a", "b"}) EXPECT_TRUE(lessor->attach(LeaseId(1), k));
  EXPECT_TRUE(lessor->attach(LeaseId(2), "b"));  // moves
  EXPECT_FALSE(lessor->attach(LeaseId(9), "a"));
  EXPECT_EQ(keys(1), "a c ");
  EXPECT_EQ(keys(2), "b ");
  EXPECT_EQ(lessor->lease_of("b"), LeaseId(2));
  lessor->detach(LeaseId(1), "b");  // not its key
  EXPECT_EQ(lessor->lease_of("b"), LeaseId(2));
  EXPECT_TRUE(lessor->attach(LeaseId(1), "d"));
  lessor->detach(LeaseId(1), "c");
  EXPECT_EQ(lessor->lease_of("c"), LeaseId());

  EXPECT_TRUE(lessor->revoke(LeaseId(1)));
  ASSERT_EQ(deleted.calls.size(), 1u);
  EXPECT_EQ(deleted.calls[0], (std::vector<std::string>{"a", "d"}));
  EXPECT_EQ(lessor->lease_of("a"), LeaseId());
  EXPECT_EQ(stored(1), "none");
  EXPECT_EQ(lessor->revoke(LeaseId(1)).error().code(), Code::kLeaseNotFound);
  EXPECT_EQ(lessor->revoke(LeaseId(0)).error().code(), Code::kLeaseNotFound);
  lessor->detach(LeaseId(2), "b");
  EXPECT_TRUE(lessor->revoke(LeaseId(2)));
  EXPECT_EQ(deleted.calls.size(), 1u);  // nothing hung on it
}

TEST_F(LessorTest, LeasesComeBackFromTheBackendWithoutTime) {
  lessor->promote(0);
  ASSERT_TRUE(lessor->grant(LeaseId(1), 10));
  ASSERT_TRUE(lessor->grant(LeaseId(2), 1000));
  ASSERT_TRUE(lessor->checkpoint({LeaseId(2), 400}, true));
  EXPECT_EQ(stored(2), "080210e807189003");
  Options o;
  o.min_ttl_s = 30;
  make(o);
  EXPECT_FALSE(lessor->primary());
  EXPECT_EQ(lessor->info(LeaseId(1))->granted_ttl_s, 30);
  EXPECT_TRUE(lessor->info(LeaseId(1))->demoted);
  lessor->promote(io::kSecond);
  EXPECT_EQ(lessor->info(LeaseId(2))->granted_ttl_s, 1000);
  EXPECT_EQ(lessor->info(LeaseId(2))->remaining_s, 401);
  EXPECT_EQ(lessor->info(LeaseId(3)), std::nullopt);
}

TEST_F(LessorTest, ADamagedRecordIsRefusedByName) {
  backend->put(backend::Bucket::kLease, be64(5), "\x08");
  Lessor fresh({}, process.clock(), metrics);
  const auto r = fresh.recover(*backend);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kCorruption);
  EXPECT_EQ(r.error().text().substr(0, 30), "lease record 0000000000000005:");
}

TEST_F(LessorTest, TimeCountsOnThePrimaryAlone) {
  ASSERT_TRUE(lessor->grant(LeaseId(1), 5));
  pass(100 * io::kSecond);
  EXPECT_TRUE(lessor->take_expired().empty());
  EXPECT_EQ(lessor->renew(LeaseId(1)).error().text(), "not a primary lessor");
  lessor->promote(io::kSecond);
  pass(11 * io::kSecond / 2);
  EXPECT_TRUE(lessor->take_expired().empty());
  EXPECT_EQ(lessor->info(LeaseId(1))->remaining_s, 0);
  pass(2 * io::kSecond);
  EXPECT_EQ(lessor->info(LeaseId(1))->remaining_s, -1);
  EXPECT_EQ(lessor->take_expired(), std::vector<LeaseId>{LeaseId(1)});
  EXPECT_TRUE(lessor->take_expired().empty());
  pass(Lessor::kRetryInterval);
  EXPECT_EQ(lessor->take_expired(), std::vector<LeaseId>{LeaseId(1)});
  lessor->demote();
  pass(Lessor::kRetryInterval);
  EXPECT_TRUE(lessor->take_expired().empty());
}

TEST_F(LessorTest, ARenewalStartsTheTimeAnew) {
  lessor->promote(0);
  ASSERT_TRUE(lessor->grant(LeaseId(1), 5));
  for (int i = 0; i < 10; ++i) {
    pass(4 * io::kSecond);
    const auto r = lessor->renew(LeaseId(1));
    ASSERT_TRUE(r);
    EXPECT_EQ(r->kind, Renewal::Kind::kRenewed);
    EXPECT_EQ(r->ttl_s, 5);
    EXPECT_TRUE(lessor->take_expired().empty());
  }
  EXPECT_EQ(lessor->renew(LeaseId(2)).error().code(), Code::kLeaseNotFound);
  pass(5 * io::kSecond);
  EXPECT_EQ(lessor->renew(LeaseId(1))->kind, Renewal::Kind::kExpired);
  EXPECT_EQ(lessor->take_expired().size(), 1u);
}

// What a promotion gave beyond the TTL ends with the first renewal.
TEST_F(LessorTest, ARenewalMayBringTheExpiryForward) {
  ASSERT_TRUE(lessor->grant(LeaseId(1), 5));
  lessor->promote(60 * io::kSecond);
  EXPECT_EQ(lessor->info(LeaseId(1))->remaining_s, 65);
  ASSERT_TRUE(lessor->renew(LeaseId(1)));
  EXPECT_EQ(lessor->info(LeaseId(1))->remaining_s, 5);
  pass(5 * io::kSecond + 1);
  EXPECT_EQ(lessor->take_expired().size(), 1u);
}

TEST_F(LessorTest, WhoWaitsForTheEndOfALeaseIsTold) {
  std::vector<std::string> told;
  const auto wait = [&](int64_t id) {
    lessor->when_gone(LeaseId(id),
                      [&told, id](Error e) { told.push_back(fmt::format("{}: {}", id, e.text())); });
  };
  ASSERT_TRUE(lessor->grant(LeaseId(1), 5));
  ASSERT_TRUE(lessor->grant(LeaseId(2), 5));
  wait(1);
  lessor->promote(0);
  wait(1);
  wait(2);
  wait(3);
  ASSERT_TRUE(lessor->revoke(LeaseId(1)));
  lessor->demote();
  EXPECT_EQ(told, (std::vector<std::string>{
                      "1: not a primary lessor", "3: etcdserver: requested lease not found",
                      "1: etcdserver: requested lease not found", "2: not a primary lessor"}));
}

TEST_F(LessorTest, ACrowdIsSpreadOverTime) {
  for (int64_t i = 1; i <= 3000; ++i) ASSERT_TRUE(lessor->grant(LeaseId(i), i % 2 == 0 ? 10 : 4000));
  lessor->promote(0);
  pass(10 * io::kSecond);
  std::set<LeaseId> expired;
  size_t most = 0;
  for (int half = 0; half < 10; ++half) {
    const size_t before = expired.size();
    for (const LeaseId id : lessor->take_expired()) {
      EXPECT_EQ(id.v % 2, 0);
      expired.insert(id);
      ASSERT_TRUE(lessor->revoke(id));
    }
    most = std::max(most, expired.size() - before);
    pass(Lessor::kScanInterval);
  }
  EXPECT_EQ(expired.size(), 1500u);
  EXPECT_LE(most, 376u);
}

// A promotion of very many leases goes in steps. Meanwhile leases are granted, renewed, revoked and asked for,
// none expires early, and none is forgotten.
TEST_F(LessorTest, ManyLeasesArePromotedInSteps) {
  constexpr int64_t kLeases = 20'000;
  for (int64_t i = 1; i <= kLeases; ++i) ASSERT_TRUE(lessor->grant(LeaseId(i), 10));
  ASSERT_TRUE(lessor->revoke(LeaseId(5)));
  lessor->promote(0);
  // The last ones have not had their turn. They have their full time, and can be renewed.
  EXPECT_EQ(lessor->info(LeaseId(kLeases))->remaining_s, 10);
  EXPECT_FALSE(lessor->info(LeaseId(kLeases))->demoted);
  pass(2 * io::kSecond);
  EXPECT_EQ(lessor->info(LeaseId(kLeases))->remaining_s, 8);
  EXPECT_EQ(lessor->renew(LeaseId(kLeases))->kind, Renewal::Kind::kRenewed);
  EXPECT_EQ(lessor->info(LeaseId(kLeases))->remaining_s, 10);
  ASSERT_TRUE(lessor->revoke(LeaseId(kLeases - 1)));
  ASSERT_TRUE(lessor->grant(LeaseId(kLeases - 1), 1'000));
  ASSERT_TRUE(lessor->grant(LeaseId(5), 1'000));
  // Each lease is looked at twice: collected, and given its expiry in order. Here all are collected.
  ASSERT_TRUE(lessor->maintain(18'500));
  EXPECT_EQ(lessor->renew(LeaseId(kLeases - 2))->kind, Renewal::Kind::kRenewed);
  int steps = 0;
  while (lessor->maintain(1'000)) ++steps;
  EXPECT_GE(steps, 17);
  EXPECT_EQ(lessor->info(LeaseId(kLeases))->remaining_s, 10);  // the renewals hold
  EXPECT_EQ(lessor->info(LeaseId(kLeases - 2))->remaining_s, 10);
  std::set<LeaseId> expired;
  for (int half = 0; half < 120; ++half) {
    for (const LeaseId id : lessor->take_expired()) {
      EXPECT_TRUE(expired.insert(id).second);
      ASSERT_TRUE(lessor->revoke(id));
    }
    pass(Lessor::kScanInterval);
  }
  EXPECT_EQ(expired.size(), static_cast<size_t>(kLeases - 2));
  EXPECT_FALSE(expired.contains(LeaseId(5)));
  EXPECT_FALSE(expired.contains(LeaseId(kLeases - 1)));
}

// Where nobody calls maintain() the scans for expired leases carry a promotion on.
TEST_F(LessorTest, ScansCarryAPromotionOn) {
  for (int64_t i = 1; i <= 5'000; ++i) ASSERT_TRUE(lessor->grant(LeaseId(i), 3));
  lessor->promote(0);
  std::set<LeaseId> expired;
  for (int half = 0; half < 60; ++half) {
    pass(Lessor::kScanInterval);
    for (const LeaseId id : lessor->take_expired()) {
      expired.insert(id);
      ASSERT_TRUE(lessor->revoke(id));
    }
  }
  EXPECT_EQ(expired.size(), 5'000u);
}

// A promotion that the next one or a demotion interrupts leaves nothing behind.
TEST_F(LessorTest, AnInterruptedPromotion) {
  for (int64_t i = 1; i <= 10'000; ++i) ASSERT_TRUE(lessor->grant(LeaseId(i), 5));
  lessor->promote(0);
  lessor->demote();
  EXPECT_FALSE(lessor->maintain(1'000));
  EXPECT_TRUE(lessor->info(LeaseId(1))->demoted);
  pass(10 * io::kSecond);
  EXPECT_TRUE(lessor->take_expired().empty());
  lessor->promote(0);
  pass(2 * io::kSecond);
  lessor->promote(0);
  while (lessor->maintain(1'000)) {
  }
  EXPECT_EQ(lessor->info(LeaseId(1))->remaining_s, 5);
  pass(4 * io::kSecond);
  EXPECT_TRUE(lessor->take_expired().empty());
}

TEST_F(LessorTest, ListedInSteps) {
  lessor->promote(0);
  Prng prng(3);
  std::set<int64_t> all_the_time;
  for (int64_t i = 1; i <= 3'000; ++i) {
    ASSERT_TRUE(lessor->grant(LeaseId(i), static_cast<int64_t>(prng.between(10, 1'000))));
    all_the_time.insert(i);
  }
  LeaseList list(*lessor);
  int steps = 0;
  for (int64_t gone = 1; !list.step(100); ++steps, gone += 7) {
    if (gone >= 2'990) continue;
    for (const int64_t id : {gone, gone + 1}) {
      ASSERT_TRUE(lessor->revoke(LeaseId(id)));
      all_the_time.erase(id);
    }
    for (int64_t n = 0; n < 3; ++n) ASSERT_TRUE(lessor->grant(LeaseId(10'000 + 3 * gone + n), 50));
  }
  EXPECT_GE(steps, 58);
  std::set<int64_t> seen;
  int64_t last = 0;
  for (const LeaseId id : list.take()) {
    EXPECT_TRUE(seen.insert(id.v).second) << "twice: " << id.v;
    if (!lessor->exists(id) || id.v > 10'000) continue;
    EXPECT_GE(lessor->info(id)->remaining_s, last);
    last = lessor->info(id)->remaining_s;
  }
  for (const int64_t id : all_the_time) EXPECT_TRUE(seen.contains(id)) << id;
  // Without a primary no lease ends before another: they are listed by id.
  lessor->demote();
  const std::vector<LeaseId> by_id = lessor->leases();
  EXPECT_EQ(by_id.size(), lessor->size());
  EXPECT_TRUE(std::is_sorted(by_id.begin(), by_id.end()));
}

TEST_F(LessorTest, KeysInParts) {
  ASSERT_TRUE(lessor->grant(LeaseId(7), 100));
  for (int i = 999; i >= 0; --i) ASSERT_TRUE(lessor->attach(LeaseId(7), fmt::format("k{:03}", i)));
  EXPECT_EQ(lessor->keys(LeaseId(7), "k500", 2), (std::vector<std::string>{"k500", "k501"}));
  EXPECT_EQ(lessor->keys(LeaseId(7), "k9985", 5), (std::vector<std::string>{"k999"}));
  EXPECT_TRUE(lessor->keys(LeaseId(8), "", 5).empty());
  EXPECT_EQ(lessor->take_keys(LeaseId(7), 3), (std::vector<std::string>{"k000", "k001", "k002"}));
  EXPECT_EQ(lessor->lease_of("k001"), LeaseId());
  EXPECT_EQ(lessor->lease_of("k003"), LeaseId(7));
  ASSERT_TRUE(lessor->revoke(LeaseId(7)));
  ASSERT_EQ(deleted.calls.size(), 1u);
  EXPECT_EQ(deleted.calls[0].size(), 997u);
  EXPECT_EQ(deleted.calls[0].front(), "k003");
  EXPECT_TRUE(lessor->take_keys(LeaseId(7), 3).empty());
}

TEST_F(LessorTest, OneCallGivesABoundedNumber) {
  lessor->promote(0);
  for (int64_t i = 1; i <= 1200; ++i) ASSERT_TRUE(lessor->grant(LeaseId(i), 10));
  pass(11 * io::kSecond);
  EXPECT_EQ(lessor->take_expired().size(), Lessor::kExpiredPerCall);
  EXPECT_EQ(lessor->take_expired().size(), Lessor::kExpiredPerCall);
  EXPECT_EQ(lessor->take_expired().size(), 200u);
}

TEST_F(LessorTest, AnIdGrantedAgainHasATimeOfItsOwn) {
  lessor->promote(0);
  ASSERT_TRUE(lessor->grant(LeaseId(1), 5));
  ASSERT_TRUE(lessor->revoke(LeaseId(1)));
  ASSERT_TRUE(lessor->grant(LeaseId(1), 50));
  pass(6 * io::kSecond);
  EXPECT_TRUE(lessor->take_expired().empty());
  pass(45 * io::kSecond);
  EXPECT_EQ(lessor->take_expired().size(), 1u);
}

TEST_F(LessorTest, ListedByWhoEndsFirst) {
  lessor->promote(0);
  ASSERT_TRUE(lessor->grant(LeaseId(3), 30));
  ASSERT_TRUE(lessor->grant(LeaseId(1), 60));
  ASSERT_TRUE(lessor->grant(LeaseId(2), 40));
  EXPECT_EQ(lessor->leases(), (std::vector<LeaseId>{LeaseId(3), LeaseId(2), LeaseId(1)}));
  pass(20 * io::kSecond);
  ASSERT_TRUE(lessor->renew(LeaseId(3)));
  EXPECT_EQ(lessor->leases(), (std::vector<LeaseId>{LeaseId(2), LeaseId(3), LeaseId(1)}));
}

TEST_F(LessorTest, CheckpointsCarryTheRestOfALongLease) {
  Options o;
  o.checkpoint = true;
  make(o);
  lessor->promote(0);
  ASSERT_TRUE(lessor->grant(LeaseId(1), 1000));
  ASSERT_TRUE(lessor->grant(LeaseId(2), 300));  // not longer than the interval
  ASSERT_TRUE(lessor->grant(LeaseId(3), 900));
  EXPECT_TRUE(lessor->take_checkpoints().empty());
  pass(301 * io::kSecond);
  ASSERT_TRUE(lessor->renew(LeaseId(3)));
  EXPECT_EQ(lessor->take_checkpoints(), std::vector<Checkpoint>{(Checkpoint{LeaseId(1), 699})});
  ASSERT_TRUE(lessor->checkpoint({LeaseId(1), 699}, false));
  EXPECT_EQ(stored(1), "080110e807");
  // Another leader takes over from there.
  lessor->demote();
  lessor->promote(0);
  EXPECT_EQ(lessor->info(LeaseId(1))->remaining_s, 699);
  EXPECT_EQ(lessor->renew(LeaseId(1))->kind, Renewal::Kind::kCheckpointFirst);
  ASSERT_TRUE(lessor->checkpoint({LeaseId(1), 0}, true));
  EXPECT_EQ(lessor->renew(LeaseId(1))->kind, Renewal::Kind::kRenewed);
  EXPECT_EQ(lessor->info(LeaseId(1))->remaining_s, 1000);
  EXPECT_EQ(lessor->checkpoint({LeaseId(9), 1}, true).error().code(), Code::kLeaseNotFound);
  pass(2000 * io::kSecond);
  EXPECT_TRUE(lessor->take_checkpoints().empty());  // over, so there is nothing to remember
}

// A slow twin: a list searched at every step.
TEST_F(LessorTest, ExpiriesAreThoseOfAPlainList) {
  lessor->promote(0);
  Prng prng(3);
  std::map<int64_t, std::pair<int64_t, io::MonotonicNs>> twin;  // id -> ttl, expiry
  for (int step = 0; step < 5000; ++step) {
    const int64_t id = static_cast<int64_t>(prng.between(1, 60));
    const io::MonotonicNs now = process.clock().monotonic();
    switch (prng.below(4)) {
      case 0: {
        const int64_t ttl = static_cast<int64_t>(prng.between(2, 30));
        if (lessor->grant(LeaseId(id), ttl)) twin[id] = {ttl, now + ttl * io::kSecond};
        break;
      }
      case 1: {
        const auto r = lessor->renew(LeaseId(id));
        ASSERT_EQ(r.has_value(), twin.contains(id));
        if (!r) break;
        ASSERT_EQ(r->kind == Renewal::Kind::kExpired, twin[id].second <= now);
        if (r->kind == Renewal::Kind::kRenewed) twin[id].second = now + twin[id].first * io::kSecond;
        break;
      }
      case 2: {
        if (prng.chance(1, 3)) {
          ASSERT_EQ(lessor->revoke(LeaseId(id)).has_value(), twin.erase(id) == 1);
        }
        break;
      }
      case 3: {
        for (const LeaseId due : lessor->take_expired()) {
          ASSERT_TRUE(twin.contains(due.v) && twin[due.v].second <= now);
          ASSERT_TRUE(lessor->revoke(due));
          twin.erase(due.v);
        }
        for (const auto& [left, at] : twin) ASSERT_GT(at.second, now) << left;
        pass(static_cast<int64_t>(prng.below(3 * io::kSecond)));
        break;
      }
    }
  }
}

}  // namespace
}  // namespace quoin::lease
