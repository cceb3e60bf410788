// Requests that touch very many keys: they go over many tasks of apply, and show as one change.
#include "server/large_request.h"

#include <algorithm>

#include "server/applier.h"
#include "server/apply_stage.h"
#include "server/life_test.h"

namespace quoin::server {
namespace {

constexpr int kKeys = 6 * static_cast<int>(Applier::kKeysPerStep) + 17;
const std::string_view kAll("\0", 1);
const std::vector<std::string> kNames = [] {
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) names.push_back(fmt::format("n{:03}", i));
  return names;
}();

class LargeRequests : public ::testing::Test {
 protected:
  // Puts kKeys keys, many in one transaction, and other keys around them.
  static void fill(Life& life, int64_t lease = 0) {
    pb::InternalRaftRequest grant;
    if (lease != 0) {
      grant.lease_grant.emplace().id = lease;
      grant.lease_grant->ttl = 600;
      life.ask(grant);
    }
    life.put("a", "stays");
    std::deque<std::string> keys;
    for (int i = 0; i < kKeys;) {
      pb::InternalRaftRequest r;
      auto& txn = r.txn.emplace();
      for (int n = 0; n < 500 && i < kKeys; ++n, ++i) {
        auto& put = txn.success.emplace_back().set_request_put();
        put.key = keys.emplace_back(fmt::format("k{:06}", (i * 7919) % 1'000'000));
        put.value = "v";
        put.lease = lease;
      }
      life.ask(std::move(r));
    }
    life.put("z", "stays");
  }
  static int64_t count(Life& life, int64_t revision = 0) {
    mvcc::RangeRequest all;
    all.key = "a";
    all.range_end = kAll;
    all.count_only = true;
    all.revision = revision;
    auto scan = mvcc::RangeScan::start(life.view(), all);
    EXPECT_TRUE(scan && scan->run([](std::string_view) { return true; }));
    return scan->count();
  }
  static pb::InternalRaftRequest delete_all(bool prev_kv = false) {
    pb::InternalRaftRequest r;
    r.delete_range.emplace().key = "k";
    r.delete_range->range_end = "l";
    r.delete_range->prev_kv = prev_kv;
    return r;
  }
  // Proposes it; until the answer is there, one task after the other runs on apply, and nothing of the change
  // is seen. Returns the answer, and in *tasks how many tasks ran between.
  static Answer watch_being_applied(Life& life, pb::InternalRaftRequest request, int* tasks) {
    const int64_t before = life.view()->revision(), keys = count(life);
    std::optional<Answer> answer;
    *tasks = 0;
    std::function<void(mvcc::WatchTable&)> look = [&](mvcc::WatchTable&) {
      if (answer) return;
      ++*tasks;
      if (life.view()->revision() == before) {
        EXPECT_EQ(count(life), keys);
      } else {
        EXPECT_EQ(life.view()->revision(), before + 1);
        EXPECT_NE(count(life), keys);
      }
      life.member().on_apply([&look](mvcc::WatchTable& w) { look(w); });
    };
    life.member().on_apply([&look](mvcc::WatchTable& w) { look(w); });
    answer = life.propose(std::move(request));
    life.pass(io::kSecond);
    return std::move(*answer);
  }
  // Proposes all at once. Returns by how many revisions the published view moved at most from one task of
  // apply to the next.
  static int64_t most_revisions_in_a_task(Life& life, std::vector<pb::InternalRaftRequest> requests) {
    int64_t most = 0, last = life.view()->revision();
    bool over = false;
    std::function<void(mvcc::WatchTable&)> look = [&](mvcc::WatchTable&) {
      most = std::max(most, life.view()->revision() - last);
      last = life.view()->revision();
      if (!over) life.member().on_apply([&look](mvcc::WatchTable& w) { look(w); });
    };
    life.member().on_apply([&look](mvcc::WatchTable& w) { look(w); });
    for (const auto& a : life.propose_together(std::move(requests))) EXPECT_TRUE(a && !a->error);
    over = true;
    life.pass(io::kSecond);
    return most;
  }
  sim::World world_{9};
  sim::SimDisk disk_{world_};
};

TEST_F(LargeRequests, ADeletionGoesInStepsAndShowsAtOnce) {
  Life life(world_, disk_, life_config());
  fill(life);
  const int64_t before = life.view()->revision();
  int tasks = 0;
  const Answer answer = watch_being_applied(life, delete_all(true), &tasks);
  ASSERT_FALSE(answer.error);
  EXPECT_GE(tasks, 6);
  EXPECT_EQ(answer.count, kKeys);
  EXPECT_EQ(answer.revision, before + 1);
  // What is copied at once is what one step read.
  EXPECT_GE(answer.parts.size(), 6u);
  EXPECT_LT(answer.body.size(), 100u);
  std::string whole = answer.body;
  for (const Blob& part : answer.parts) {
    EXPECT_LT(part.size(), 2u << 20);
    whole += part.view();
  }
  EXPECT_EQ(answer.bytes(), whole.size());
  auto response = wire::decode<pb::DeleteRangeResponse>(whole);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->deleted, kKeys);
  ASSERT_EQ(response->prev_kvs.size(), static_cast<size_t>(kKeys));
  EXPECT_EQ(wire::decode<wire::mvccpb::KeyValue>(response->prev_kvs[0])->key, "k000000");
  EXPECT_EQ(count(life), 2);
  EXPECT_EQ(count(life, before), kKeys + 2);
  life.put("k", "goes on");
  EXPECT_EQ(life.view()->revision(), before + 2);
}

TEST_F(LargeRequests, ATransactionGoesInStepsAndShowsAtOnce) {
  Life life(world_, disk_, life_config());
  fill(life);
  pb::InternalRaftRequest r;
  auto& txn = r.txn.emplace();
  pb::Compare& c = txn.compare.emplace_back();
  c.key = "k";
  c.range_end = "l";
  c.target = pb::Compare::CompareTarget::kVersion;
  c.set_version(1);
  auto& erase = txn.success.emplace_back().set_request_delete_range();
  erase.key = "k";
  erase.range_end = "l";
  auto& put = txn.success.emplace_back().set_request_put();
  put.key = "k1";
  auto& range = txn.success.emplace_back().set_request_range();
  range.key = "a";
  range.range_end = kAll;
  int tasks = 0;
  const Answer answer = watch_being_applied(life, std::move(r), &tasks);
  ASSERT_FALSE(answer.error);
  EXPECT_GE(tasks, 12);
  auto response = wire::decode<pb::TxnResponse>(answer.body);
  ASSERT_TRUE(response);
  EXPECT_TRUE(response->succeeded);
  EXPECT_EQ(response->responses[0].response_delete_range()->deleted, kKeys);
  EXPECT_EQ(response->responses[2].response_range()->count, 3);
  EXPECT_EQ(count(life), 3);
}

// Asked for in the middle of its revocation, a lease has all of its keys or is gone.
TEST_F(LargeRequests, ARevocationGoesInStepsAndShowsAtOnce) {
  Life life(world_, disk_, life_config());
  fill(life, 77);
  pb::InternalRaftRequest r;
  r.lease_revoke.emplace().id = 77;
  std::vector<size_t> seen;
  bool over = false;
  std::function<void()> ask = [&] {
    life.member().lease_times(LeaseId(77), true, life.loop(), [&](Result<LeaseTimes> times) {
      ASSERT_TRUE(times);
      seen.push_back(times->ttl == -1 ? 0 : times->keys.size());
      if (!over) ask();
    });
  };
  ask();
  int tasks = 0;
  const Answer answer = watch_being_applied(life, std::move(r), &tasks);
  over = true;
  ASSERT_FALSE(answer.error);
  EXPECT_GE(tasks, 6);
  EXPECT_EQ(count(life), 2);
  ASSERT_FALSE(seen.empty());
  for (const size_t n : seen) EXPECT_TRUE(n == 0 || n == static_cast<size_t>(kKeys)) << n;
  EXPECT_EQ(seen.back(), 0u);
  int64_t ttl = 0;
  life.member().lease_times(LeaseId(77), false, life.loop(),
                            [&](Result<LeaseTimes> times) { ttl = times->ttl; });
  life.pass(io::kSecond);
  EXPECT_EQ(ttl, -1) << "the lease itself is gone, not only its keys";
  // One revision, in ascending order of the keys, as etcd writes it.
  std::string last;
  int tombstones = 0;
  const int64_t revision = life.view()->revision();
  ASSERT_TRUE(life.view()->parts().records->scan_records(
      {revision, 0}, {revision + 1, 0}, [&](Revision at, bool tombstone, std::string_view value) {
        const std::string_view key = wire::decode<wire::mvccpb::KeyValue>(value)->key;
        EXPECT_LT(last, key);
        EXPECT_EQ(at.sub, tombstones);
        EXPECT_TRUE(tombstone);
        last = key;
        ++tombstones;
        return true;
      }));
  EXPECT_EQ(tombstones, kKeys);
}

// Entries before a large one in the same batch are published and answered first, those behind it afterwards.
TEST_F(LargeRequests, TheOrderOfTheLogIsKept) {
  Life life(world_, disk_, life_config());
  fill(life);
  const int64_t before = life.view()->revision();
  std::vector<pb::InternalRaftRequest> requests(3);
  requests[0].put.emplace().key = "k-before";
  requests[1] = delete_all();
  requests[2].put.emplace().key = "k-after";
  const auto answers = life.propose_together(std::move(requests));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(answers[i] && !answers[i]->error) << i;
    EXPECT_EQ(answers[i]->revision, before + 1 + i);
  }
  EXPECT_EQ(answers[1]->count, kKeys + 1);
  EXPECT_EQ(count(life), 3);
}

// A stop or a crash at any moment leaves the whole of it or nothing, and a restart applies it once.
TEST_F(LargeRequests, StoppedOrKilledInTheMiddle) {
  constexpr int kPoints = 20;
  int last_step = 0;  // with which the request was answered, at the first point
  for (int point = kPoints; point >= 0; --point) {
    for (const bool clean : {true, false}) {
      SCOPED_TRACE(fmt::format("{} {}", point, clean));
      sim::World world(7);
      sim::SimDisk disk(world);
      Config config = life_config();
      config.backend_batch_interval_ns = io::kMillisecond;  // commits are due all the time
      int64_t before = 0;
      bool answered = false;
      {
        Life life(world, disk, config);
        fill(life);
        before = life.view()->revision();
        life.start_proposal(delete_all(), [&](Answer a) { answered = !a.error; });
        if (last_step == 0) {
          for (; !answered; ++last_step) world.step();
        } else {
          for (int i = 0; i < last_step * point / kPoints; ++i) world.step();
        }
        if (clean) life.stop();
      }
      Life life(world, disk, config);
      ASSERT_FALSE(life.start_error) << life.start_error->text();
      const int64_t revision = life.view()->revision();
      ASSERT_TRUE(revision == before || revision == before + 1) << revision - before;
      EXPECT_EQ(count(life), revision == before ? kKeys + 2 : 2);
      if (answered) {
        EXPECT_EQ(revision, before + 1);
      }
    }
  }
}

// Compactions that end, commits and snapshots that are due in the middle wait or show nothing.
TEST_F(LargeRequests, CompactionAndSnapshotMeanwhile) {
  Config config = life_config();
  config.backend_batch_interval_ns = io::kMillisecond;
  Life life(world_, disk_, config);
  fill(life);
  for (int i = 0; i < 20; ++i) life.put("a", std::to_string(i));
  const int64_t before = life.view()->revision();
  std::vector<pb::InternalRaftRequest> requests(3);
  requests[0].compaction.emplace().revision = before;
  requests[0].compaction->physical = true;
  requests[1] = delete_all();
  requests[2].put.emplace().key = "b";
  bool hashed = false;
  life.member().hash(life.loop(), [&](Result<backend::StateHash> h) { hashed = h.has_value(); });
  const auto answers = life.propose_together(std::move(requests));
  for (const auto& a : answers) ASSERT_TRUE(a && !a->error);
  ASSERT_TRUE(life.run_until([&] { return hashed; }));
  EXPECT_EQ(count(life), 3);
  EXPECT_EQ(life.view()->revision(), before + 2);
}

// Many requests that are each too small to go in steps: a task applies so many of them that it does no more
// than with as many small puts.
TEST_F(LargeRequests, ABatchEndsByTheWorkDone) {
  Life life(world_, disk_, life_config());
  constexpr int kTxns = 60, kPuts = 50;
  std::vector<pb::InternalRaftRequest> requests(kTxns);
  for (auto& r : requests) {
    auto& txn = r.txn.emplace();
    for (int n = 0; n < kPuts; ++n) {
      txn.success.emplace_back().set_request_put().key = kNames[n];
    }
  }
  EXPECT_LE(most_revisions_in_a_task(life, std::move(requests)),
            static_cast<int64_t>(ApplyStage::kBatchWork) / kPuts + 1);
}

// A deletion of very many keys is also sent to watchers in steps; its answer leaves after the last of them, and
// requests to the watches wait meanwhile.
TEST_F(LargeRequests, AnswersLeaveWhenAllWatchersWereTold) {
  struct Sink final : mvcc::WatchSink {
    size_t events = 0;
    void control(mvcc::WatchMessage) override {}
    bool deliver(const mvcc::WatchMessage& m) override {
      events += m.event_count;
      return true;
    }
    void catch_up(std::unique_ptr<mvcc::CatchUp>) override { ADD_FAILURE(); }
    size_t header_bytes(int64_t) const override { return 24; }
  };
  // So many that sending alone takes several steps.
  std::vector<Sink> sinks(300);
  Life life(world_, disk_, life_config());
  fill(life);
  life.member().on_apply([&](mvcc::WatchTable& w) {
    for (Sink& sink : sinks) w.create(w.open_stream(sink), {.key = "a", .range_end = std::string(kAll)});
  });
  bool answered = false;
  const auto told = [&] {
    return std::count_if(sinks.begin(), sinks.end(), [](const Sink& s) { return s.events > 0; });
  };
  int between = 0;
  std::function<void()> look = [&] {
    between += told() != 0 && told() != std::ssize(sinks);
    if (!answered) life.member().on_apply([&look](mvcc::WatchTable&) { look(); });
  };
  life.member().on_apply([&look](mvcc::WatchTable&) { look(); });
  life.start_proposal(delete_all(), [&](Answer a) {
    EXPECT_FALSE(a.error);
    EXPECT_EQ(told(), std::ssize(sinks));
    answered = true;
  });
  bool in_the_middle = false;
  ASSERT_TRUE(life.run_until([&] {
    in_the_middle = in_the_middle || (told() != 0 && told() != std::ssize(sinks));
    return answered;
  }));
  EXPECT_TRUE(in_the_middle);
  EXPECT_EQ(between, 0);
  for (const Sink& sink : sinks) EXPECT_EQ(sink.events, static_cast<size_t>(kKeys));
  life.pass(io::kSecond);
}

}  // namespace
}  // namespace quoin::server
