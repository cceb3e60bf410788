#include "v3rpc/lock_service.h"

#include "v3rpc/contests_test.h"

namespace quoin::v3rpc {
namespace {

using Keys = std::vector<std::string>;

class LockServiceTest : public ContestsTest {};

TEST_F(LockServiceTest, AFreeLockIsTakenAtOnce) {
  lease(0xabc);
  const auto first = answer<lockpb::LockResponse>(lock("my", 0xabc));
  EXPECT_EQ(first.key, "my/abc");
  EXPECT_EQ(first.header->revision, 2);
  EXPECT_NE(first.header->member_id, 0u);
  EXPECT_NE(first.header->raft_term, 0u);
  EXPECT_EQ(keys(), Keys{"my/abc=@2748"});
  // The same lease again: at once, and nothing is written.
  put("other", "");
  const auto again = answer<lockpb::LockResponse>(lock("my", 0xabc));
  EXPECT_EQ(again.key, "my/abc");
  EXPECT_EQ(again.header->revision, 3);
  EXPECT_EQ(unlock("my/abc"), "0 ");
  EXPECT_EQ(keys(), Keys{"other=@0"});
  expect_no_watch();
}

TEST_F(LockServiceTest, NamesAndLeases) {
  lease(-31);
  EXPECT_EQ(answer<lockpb::LockResponse>(lock("", -31)).key, "/-1f");
  EXPECT_EQ(answer<lockpb::LockResponse>(lock(std::string_view("a\0\xff", 3), -31)).key,
            std::string_view("a\0\xff/-1f", 7));
  EXPECT_EQ(end_of(lock("my", 5)), "2 etcdserver: requested lease not found");
  EXPECT_EQ(end_of(lock(std::string(400'000, 'n'), -31)), "2 etcdserver: request is too large");
}

TEST_F(LockServiceTest, WithoutALeaseOneIsGranted) {
  const auto got = answer<lockpb::LockResponse>(lock("my", 0));
  ASSERT_TRUE(got.key.starts_with("my/"));
  pb::LeaseTimeToLiveRequest ask_time;
  ask_time.id = std::stoll(std::string(got.key.substr(3)), nullptr, 16);
  const auto time = good<pb::LeaseTimeToLiveResponse>("Lease/LeaseTimeToLive", ask_time);
  EXPECT_EQ(time.granted_ttl, 60);
  // It runs out, and the lock with it.
  settle(62 * io::kSecond);
  EXPECT_EQ(keys(), Keys());
}

TEST_F(LockServiceTest, Unlock) {
  EXPECT_EQ(unlock("nothing"), "0 ");
  EXPECT_EQ(unlock(""), "2 etcdserver: key is not provided");
}

TEST_F(LockServiceTest, TurnsComeInTheOrderOfCreationAndEachWatchesOneKey) {
  constexpr int kContenders = 12;
  std::vector<http2::StreamId> calls;
  // Leases whose keys sort otherwise than they come.
  const auto lease_of = [](int i) { return 100 + (i * 7) % kContenders; };
  for (int i = 0; i < kContenders; ++i) {
    lease(lease_of(i));
    calls.push_back(lock("my", lease_of(i)));
    settle(300 * io::kMillisecond);
  }
  for (int i = 0; i < kContenders; ++i) {
    SCOPED_TRACE(i);
    const auto got = answer<lockpb::LockResponse>(calls[static_cast<size_t>(i)]);
    EXPECT_EQ(got.key, fmt::format("my/{:x}", lease_of(i)));
    settle(300 * io::kMillisecond);
    EXPECT_EQ(watchers(), kContenders - 1 - i);
    for (int later = i + 1; later < kContenders; ++later) {
      EXPECT_FALSE(stream(calls[static_cast<size_t>(later)]).ended);
    }
    EXPECT_EQ(unlock(got.key), "0 ");
  }
  expect_no_watch();
  EXPECT_EQ(keys(), Keys());
}

// However many wait, a hand-over wakes one, which looks at its own key and nearly never at those of all
// others.
TEST_F(LockServiceTest, AHandOverCostsTheSameHoweverManyWait) {
  constexpr int kWaiters = 400;
  lease(1);
  std::vector<http2::StreamId> calls{lock("my", 1)};
  for (int i = 0; i < kWaiters; ++i) {
    lease(1000 + i);
    calls.push_back(lock("my", 1000 + i));
    run_until([&] { return watchers() == i + 1; });
  }
  const auto hand_over = [&](int i) {
    const auto got = answer<lockpb::LockResponse>(calls[static_cast<size_t>(i)]);
    EXPECT_EQ(unlock(got.key), "0 ");
  };
  for (int i = 0; i < 5; ++i) hand_over(i);
  settle();
  const double earlier = metric("etcd_mvcc_range_total");
  EXPECT_EQ(unlock("nothing"), "0 ");
  settle();
  const double before = metric("etcd_mvcc_range_total"), per_unlock = before - earlier;
  constexpr int kMeasured = 200;
  for (int i = 5; i < 5 + kMeasured; ++i) hand_over(i);
  settle();
  const double ranges = metric("etcd_mvcc_range_total") - before - kMeasured * per_unlock;
  EXPECT_GE(ranges, kMeasured);
  EXPECT_LE(ranges, kMeasured + 1 + kMeasured / static_cast<int>(Elders::kKept));
}

TEST_F(LockServiceTest, OneInTheMiddleGivesUp) {
  for (int64_t id = 1; id <= 4; ++id) lease(id);
  answer<lockpb::LockResponse>(lock("my", 1));
  const auto second = waiting_lock("my", 2), third = waiting_lock("my", 3), fourth = waiting_lock("my", 4);
  client_->session.reset(second, http2::ErrorCode::kCancel);
  settle(300 * io::kMillisecond);
  EXPECT_EQ(keys(), (Keys{"my/1=@1", "my/3=@3", "my/4=@4"}));
  EXPECT_EQ(watchers(), 2);
  revoke(3);  // its lease ends while it waits; nobody waits for that key any more
  settle(300 * io::kMillisecond);
  EXPECT_FALSE(stream(fourth).ended);
  EXPECT_EQ(unlock("my/1"), "0 ");
  EXPECT_EQ(answer<lockpb::LockResponse>(fourth).key, "my/4");
  EXPECT_EQ(end_of(third), "2 mutex: session is expired");
  expect_no_watch();
}

TEST_F(LockServiceTest, TheHolderLetsGoByItsLease) {
  lease(1, 2);
  lease(2);
  lease(3);
  answer<lockpb::LockResponse>(lock("my", 1));
  const auto second = waiting_lock("my", 2);
  const auto third = waiting_lock("my", 3);
  EXPECT_EQ(answer<lockpb::LockResponse>(second).key, "my/2");  // the lease expired
  revoke(2);
  EXPECT_EQ(answer<lockpb::LockResponse>(third).key, "my/3");
  expect_no_watch();
}

// The first read of a lock that was waited for is the header's.
TEST_F(LockServiceTest, TheHeaderAfterWaiting) {
  lease(1);
  lease(2);
  answer<lockpb::LockResponse>(lock("my", 1));
  const auto second = waiting_lock("my", 2);
  put("other", "");
  EXPECT_EQ(unlock("my/1"), "0 ");
  EXPECT_EQ(answer<lockpb::LockResponse>(second).header->revision, 5);
}

TEST_F(LockServiceTest, OtherKeysUnderThePrefixCount) {
  lease(1);
  put("my/else", "");
  put("mz", "");
  put("my0", "");
  const auto waits = waiting_lock("my", 1);
  put("my/else", "again");
  settle(300 * io::kMillisecond);
  EXPECT_FALSE(stream(waits).ended);
  pb::DeleteRangeRequest erase;
  erase.key = "my/else";
  ASSERT_EQ(ask("KV/DeleteRange", erase).status(), "0 ");
  EXPECT_EQ(answer<lockpb::LockResponse>(waits).key, "my/1");
}

TEST_F(LockServiceTest, ADeadlineGivesTheKeyUp) {
  lease(1);
  lease(2);
  answer<lockpb::LockResponse>(lock("my", 1));
  const auto waits = call_with("v3lockpb.Lock/Lock", lock_request("my", 2), {{"grpc-timeout", "500m"}});
  settle(io::kSecond);
  loop_.post([&] { EXPECT_TRUE(connection_->tick(process_.clock().monotonic())); });
  settle(300 * io::kMillisecond);
  EXPECT_TRUE(stream(waits).closed);
  EXPECT_EQ(keys(), Keys{"my/1=@1"});
  EXPECT_NE(std::find(probe_.lines.begin(), probe_.lines.end(), "handled Lock 4"), probe_.lines.end());
  expect_no_watch();
}

TEST_F(LockServiceTest, ALostConnectionGivesAllItsKeysUp) {
  constexpr int kWaiters = 300;  // more than are given up in one turn
  lease(1);
  answer<lockpb::LockResponse>(lock("my", 1));
  for (int i = 0; i < kWaiters; ++i) {
    lease(100 + i);
    lock("my", 100 + i);
  }
  settle(200 * io::kMillisecond);
  EXPECT_EQ(watchers(), kWaiters);
  drop_connection();
  settle(200 * io::kMillisecond);
  EXPECT_EQ(keys(), Keys{"my/1=@1"});
  expect_no_watch();
  EXPECT_EQ(calls_.size(), 0u);
}

// Cancelled after each number of steps there is: whatever it was at, nothing of it stays, unless the lock was
// its own already.
TEST_F(LockServiceTest, CancelledAtEveryStep) {
  lease(1);
  lease(2);
  lease(3);
  int without_key = 0, waited = 0;
  for (const bool held : {true, false}) {
    for (int steps = 0; steps < 400; steps += 1 + steps / 40) {
      SCOPED_TRACE(fmt::format("{} steps, {}", steps, held ? "held" : "free"));
      if (held) answer<lockpb::LockResponse>(lock("my", 1));
      const auto id = lock("my", 2);
      for (int i = 0; i < steps; ++i) {
        if (i % 4 == 0) loop_.post([&] { carry(); });
        world_.step();
      }
      const bool answered = stream(id).ended;
      ASSERT_FALSE(answered && held);
      waited += watchers() > 0;
      client_->session.reset(id, http2::ErrorCode::kCancel);
      settle(300 * io::kMillisecond);
      const bool won = stream(id).ended && stream(id).status() == "0 ";
      Keys want;
      if (held) want.push_back("my/1=@1");
      if (won) want.push_back("my/2=@2");
      // Without an answer at the client it may have been given: then the key is its own and stays.
      if (!held && !won && keys() == Keys{"my/2=@2"}) {
        ++without_key;
      } else {
        EXPECT_EQ(keys(), want);
      }
      expect_no_watch();
      EXPECT_EQ(calls_.size(), 0u);
      if (held) {
        ASSERT_EQ(unlock("my/1"), "0 ");
      }
      ASSERT_EQ(unlock("my/2"), "0 ");
    }
  }
  EXPECT_GT(waited, 20);
  EXPECT_LT(without_key, 12);
}

// The key of an earlier call by the same lease is not touched by one that ends before it waits.
TEST_F(LockServiceTest, ACancelledSecondCallOfTheHolderTakesNothingFromIt) {
  lease(1);
  answer<lockpb::LockResponse>(lock("my", 1));
  for (int steps = 0; steps < 60; ++steps) {
    SCOPED_TRACE(steps);
    const auto id = lock("my", 1);
    for (int i = 0; i < steps; ++i) {
      if (i % 4 == 0) loop_.post([&] { carry(); });
      world_.step();
    }
    client_->session.reset(id, http2::ErrorCode::kCancel);
    settle(300 * io::kMillisecond);
    ASSERT_EQ(keys(), Keys{"my/1=@1"});
  }
}

TEST_F(LockServiceTest, WithoutALeader) {
  lease(1);
  lease(2);
  lease(3);
  answer<lockpb::LockResponse>(lock("my", 1));
  const auto waits = waiting_lock("my", 2);
  lose_quorum();
  EXPECT_EQ(end_of(call_with("v3lockpb.Lock/Lock", lock_request("my", 3), {{"hasleader", "true"}})),
            "14 etcdserver: no leader");
  const auto late = lock("my", 3);
  // Whoever waits goes on waiting; the key of one who gives up stays, after as long as a request may take.
  client_->session.reset(waits, http2::ErrorCode::kCancel);
  settle(20 * io::kSecond);
  EXPECT_EQ(stream(late).status(), "4 context deadline exceeded");
  EXPECT_EQ(calls_.size(), 0u);
  expect_no_watch();
}

// A watch that compaction cancels ends the call as it ends etcd's client. That takes a compaction between the
// search for the older key and the watch of it, so the loop is kept busy between the two.
TEST_F(LockServiceTest, ACompactedWatchEndsTheCall) {
  lease(1);
  lease(2);
  answer<lockpb::LockResponse>(lock("my", 1));
  int64_t revision = 2;
  int compacted = 0;
  for (int n = 0; n < 40; ++n) {
    SCOPED_TRACE(n);
    const auto id = lock("my", 2);
    ++revision;
    loop_.post([&] { carry(); });
    for (int i = 0; i < n; ++i) world_.step();
    std::vector<http2::StreamId> others;
    for (int i = 0; i < 3; ++i) {
      pb::PutRequest put;
      put.key = "other";
      others.push_back(call("/etcdserverpb.KV/Put", put));
    }
    pb::CompactionRequest compact;
    compact.revision = revision + 2;
    others.push_back(call("/etcdserverpb.KV/Compact", compact));
    loop_.post([&] { carry(); });
    for (int i = 0; i < 5'000; ++i) {
      while (loop_.queued() < 300) loop_.post([] {});
      world_.step();
      if (i % 50 > 0) continue;
      loop_.post([&] { carry(); });
      // The error is told when the key is gone, not before.
      const auto view = member_->view();
      if (stream(id).ended) {
        EXPECT_FALSE(view->find("my/2", view->revision()));
      }
    }
    for (const auto other : others) EXPECT_EQ(end_of(other), "0 ");
    revision += 3;
    settle(300 * io::kMillisecond);
    if (stream(id).ended) {
      EXPECT_EQ(stream(id).status(), "2 etcdserver: mvcc: required revision has been compacted");
      ++compacted;
    } else {
      client_->session.reset(id, http2::ErrorCode::kCancel);
      settle(300 * io::kMillisecond);
    }
    ++revision;
    EXPECT_EQ(keys(), (Keys{"my/1=@1", "other=@0"}));
    expect_no_watch();
  }
  EXPECT_GT(compacted, 0);
}

class FullLockTest : public ContestsTest {
 protected:
  static server::Config small() {
    server::Config c = test_config();
    c.quota_backend_bytes = 1;
    return c;
  }
  FullLockTest() : ContestsTest(small()) {}
};

TEST_F(FullLockTest, TheQuotaHolds) {
  EXPECT_EQ(end_of(lock("my", 0)), "2 etcdserver: mvcc: database space exceeded");
  EXPECT_EQ(end_of(lock("my", 7)), "2 etcdserver: mvcc: database space exceeded");
  EXPECT_EQ(end_of(campaign("my", 7, "v")), "2 etcdserver: mvcc: database space exceeded");
  EXPECT_EQ(unlock("my/7"), "0 ");
  electionpb::LeaderKey leader;
  leader.key = "my/7";
  leader.lease = 7;
  EXPECT_EQ(proclaim(leader, "v"), "2 etcdserver: mvcc: database space exceeded");
  EXPECT_EQ(resign(leader), "0 ");
  EXPECT_EQ(member_->status().alarms.size(), 1u);
}

}  // namespace
}  // namespace quoin::v3rpc
