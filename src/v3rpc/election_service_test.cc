#include "v3rpc/election_service.h"

#include "v3rpc/contests_test.h"

namespace quoin::v3rpc {
namespace {

using Keys = std::vector<std::string>;

class ElectionServiceTest : public ContestsTest {
 protected:
  using ContestsTest::ContestsTest;
  // "key=value rev" of each message so far: the value's revision.
  Keys observed(http2::StreamId id) {
    Keys out;
    for (const std::string_view m : messages(stream(id).body)) {
      const auto r = wire::decode<electionpb::LeaderResponse>(m);
      EXPECT_TRUE(r);
      out.push_back(fmt::format("{}={}", r->kv->key, r->kv->value));
    }
    return out;
  }
  std::vector<int64_t> header_revisions(http2::StreamId id) {
    std::vector<int64_t> out;
    for (const std::string_view m : messages(stream(id).body)) {
      out.push_back(wire::decode<electionpb::LeaderResponse>(m)->header->revision);
    }
    return out;
  }
  void await_observed(http2::StreamId id, const Keys& want) {
    for (int i = 0; i < 200 && observed(id).size() < want.size(); ++i) settle(300 * io::kMillisecond);
    EXPECT_EQ(observed(id), want);
  }
  std::string leader(std::string_view name) {
    electionpb::LeaderRequest r;
    r.name = name;
    const auto id = call("/v3electionpb.Election/Leader", r);
    const std::string status = end_of(id);
    if (status != "0 ") return status;
    const auto response = answer<electionpb::LeaderResponse>(id);
    return fmt::format("{}={}", response.kv->key, response.kv->value);
  }
};

TEST_F(ElectionServiceTest, CampaignProclaimResign) {
  EXPECT_EQ(leader("e"), "2 election: no leader");
  lease(1);
  lease(2);
  const auto first = campaign("e", 1, "one");
  const auto won = answer<electionpb::CampaignResponse>(first);
  EXPECT_EQ(won.header->revision, 2);
  EXPECT_EQ(won.leader->name, "e");
  EXPECT_EQ(won.leader->key, "e/1");
  EXPECT_EQ(won.leader->rev, 2);
  EXPECT_EQ(won.leader->lease, 1);
  EXPECT_EQ(leader("e"), "e/1=one");

  const auto second = campaign("e", 2, "two");
  settle(300 * io::kMillisecond);
  EXPECT_FALSE(stream(second).ended);
  EXPECT_EQ(watchers(), 1);
  electionpb::LeaderKey key = *won.leader;
  EXPECT_EQ(proclaim(key, "changed"), "0 ");
  EXPECT_EQ(leader("e"), "e/1=changed");
  EXPECT_FALSE(stream(second).ended);
  key.rev = 1;
  EXPECT_EQ(proclaim(key, "x"), "2 election: not leader");
  EXPECT_EQ(resign(key), "0 ");  // of no effect
  EXPECT_EQ(leader("e"), "e/1=changed");
  key.rev = 2;
  EXPECT_EQ(resign(key), "0 ");
  // The header of a campaign is that of its first transaction, however long it waited.
  const auto next = answer<electionpb::CampaignResponse>(second);
  EXPECT_EQ(next.header->revision, 3);
  EXPECT_EQ(next.leader->rev, 3);
  EXPECT_EQ(leader("e"), "e/2=two");
  EXPECT_EQ(resign(key), "0 ");
  expect_no_watch();
}

TEST_F(ElectionServiceTest, ACampaignAgainWithAnotherValueProclaimsIt) {
  lease(1);
  answer<electionpb::CampaignResponse>(campaign("e", 1, "one"));
  const auto same = answer<electionpb::CampaignResponse>(campaign("e", 1, "one"));
  EXPECT_EQ(same.header->revision, 2);
  const auto again = answer<electionpb::CampaignResponse>(campaign("e", 1, "other"));
  EXPECT_EQ(again.header->revision, 2);  // of its first transaction
  EXPECT_EQ(again.leader->rev, 2);
  EXPECT_EQ(leader("e"), "e/1=other");
}

TEST_F(ElectionServiceTest, BadRequests) {
  electionpb::ProclaimRequest nobody;
  EXPECT_EQ(end_of_call("/v3electionpb.Election/Proclaim", nobody), "2 \"leader\" field must be provided");
  EXPECT_EQ(end_of_call("/v3electionpb.Election/Resign", electionpb::ResignRequest{}),
            "2 \"leader\" field must be provided");
  electionpb::LeaderKey key;
  key.lease = 5;
  EXPECT_EQ(proclaim(key, "v"), "2 etcdserver: key is not provided");
  EXPECT_EQ(resign(key), "2 etcdserver: key is not provided");
  EXPECT_EQ(end_of(campaign("e", 5, "v")), "2 etcdserver: requested lease not found");
  EXPECT_EQ(end_of(campaign("e", 5, std::string(2'000'000, 'v'))), "2 etcdserver: request is too large");
  // A key without a lease is put under a new one.
  key.lease = 0;
  key.key = "loose";
  EXPECT_EQ(proclaim(key, "v"), "0 ");
  const Keys all = keys();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_TRUE(all[0].starts_with("loose=v@"));
  EXPECT_FALSE(all[0].ends_with("@0"));
}

// As in etcd, a campaign does not look whether its own key is still there.
TEST_F(ElectionServiceTest, ACandidateWhoseLeaseEndedWinsWithoutAKey) {
  lease(1);
  lease(2);
  answer<electionpb::CampaignResponse>(campaign("e", 1, "one"));
  const auto second = campaign("e", 2, "two");
  settle(300 * io::kMillisecond);
  revoke(2);
  settle(300 * io::kMillisecond);
  EXPECT_FALSE(stream(second).ended);
  revoke(1);
  EXPECT_EQ(answer<electionpb::CampaignResponse>(second).leader->key, "e/2");
  EXPECT_EQ(leader("e"), "2 election: no leader");
}

TEST_F(ElectionServiceTest, CancelledAtEveryStep) {
  lease(1);
  lease(2);
  answer<electionpb::CampaignResponse>(campaign("e", 1, "one"));
  int proclaiming = 0;
  for (const bool again : {false, true}) {
    for (int steps = 0; steps < 300; steps += 1 + steps / 40) {
      SCOPED_TRACE(fmt::format("{} steps, {}", steps, again ? "key there" : "no key"));
      http2::StreamId first = 0;
      if (again) {
        first = campaign("e", 2, "two");
        settle(300 * io::kMillisecond);
      }
      const auto id = campaign("e", 2, "other");
      for (int i = 0; i < steps; ++i) {
        if (i % 4 == 0) loop_.post([&] { carry(); });
        world_.step();
      }
      ASSERT_FALSE(stream(id).ended);
      client_->session.reset(id, http2::ErrorCode::kCancel);
      settle(300 * io::kMillisecond);
      const Keys now = keys();
      if (!again) {
        EXPECT_EQ(now, Keys{"e/1=one@1"});
      } else if (now.size() == 2) {
        // It ended before it was known to have found a key of its own.
        EXPECT_TRUE(now[1] == "e/2=two@2" || now[1] == "e/2=other@2") << now[1];
      } else {
        ++proclaiming;
      }
      if (again) client_->session.reset(first, http2::ErrorCode::kCancel);
      settle(300 * io::kMillisecond);
      EXPECT_EQ(keys(), Keys{"e/1=one@1"});
      expect_no_watch();
      EXPECT_EQ(calls_.size(), 0u);
    }
  }
  EXPECT_GT(proclaiming, 10);
}

TEST_F(ElectionServiceTest, ObserveFollowsTheLeaders) {
  const auto id = observe("e");
  settle(300 * io::kMillisecond);
  EXPECT_EQ(observed(id), Keys());
  EXPECT_EQ(watchers(), 1);
  put("e0", "beside");
  lease(1);
  lease(2);
  const auto first = answer<electionpb::CampaignResponse>(campaign("e", 1, "one"));
  await_observed(id, {"e/1=one"});
  const auto second = campaign("e", 2, "two");
  for (const auto* value : {"a", "b", "c"}) EXPECT_EQ(proclaim(*first.leader, value), "0 ");
  await_observed(id, {"e/1=one", "e/1=a", "e/1=b", "e/1=c"});
  EXPECT_EQ(header_revisions(id), (std::vector<int64_t>{3, 5, 6, 7}));
  // One who comes later begins with the leader as it is.
  const auto late = observe("e");
  await_observed(late, {"e/1=c"});
  EXPECT_EQ(resign(*first.leader), "0 ");
  const auto next = answer<electionpb::CampaignResponse>(second);
  await_observed(id, {"e/1=one", "e/1=a", "e/1=b", "e/1=c", "e/2=two"});
  await_observed(late, {"e/1=c", "e/2=two"});
  EXPECT_EQ(resign(*next.leader), "0 ");
  settle(300 * io::kMillisecond);
  lease(3);
  answer<electionpb::CampaignResponse>(campaign("e", 3, "three"));
  await_observed(late, {"e/1=c", "e/2=two", "e/3=three"});
  EXPECT_EQ(watchers(), 2);
  client_->session.reset(id, http2::ErrorCode::kCancel);
  client_->session.reset(late, http2::ErrorCode::kCancel);
  expect_no_watch();
  EXPECT_EQ(calls_.size(), 0u);
}

// What a leader says while the observer looks for it, or creates its watch, is not missed.
TEST_F(ElectionServiceTest, ObserveMissesNothing) {
  lease(1);
  const auto won = answer<electionpb::CampaignResponse>(campaign("e", 1, "start"));
  for (int steps = 0; steps < 120; ++steps) {
    SCOPED_TRACE(steps);
    const auto id = observe("e");
    for (int i = 0; i < steps; ++i) {
      if (i % 4 == 0) loop_.post([&] { carry(); });
      world_.step();
    }
    for (int n = 0; n < 3; ++n) EXPECT_EQ(proclaim(*won.leader, fmt::format("{}.{}", steps, n)), "0 ");
    const std::string last = fmt::format("e/1={}.2", steps);
    for (int i = 0; i < 100 && (observed(id).empty() || observed(id).back() != last); ++i) {
      settle(io::kMillisecond);
    }
    const Keys got = observed(id);
    ASSERT_FALSE(got.empty());
    EXPECT_EQ(got.back(), last);
    // No value between the first and the last is left out, and none comes twice.
    for (size_t i = 1; i < got.size(); ++i) {
      EXPECT_EQ(got[i], fmt::format("e/1={}.{}", steps, 3 - got.size() + i));
    }
    client_->session.reset(id, http2::ErrorCode::kCancel);
  }
  expect_no_watch();
}

TEST_F(ElectionServiceTest, AnObserverThatDoesNotReadCostsLittleAndMissesNothing) {
  constexpr int kValues = 400;
  lease(1);
  const auto won = answer<electionpb::CampaignResponse>(campaign("e", 1, "start"));
  client_->read = false;
  const auto id = observe("e");
  settle(300 * io::kMillisecond);
  // Another connection proclaims, since this one's windows fill up.
  auto writing = std::make_unique<grpc::ServerConnection>(*context_, grpc::PeerInfo{"127.0.0.1:2", ""}, *this,
                                                          process_.clock().monotonic());
  grpc::test::RawClient writer;
  for (int i = 0; i < kValues; ++i) {
    electionpb::ProclaimRequest r;
    r.leader = *won.leader;
    const std::string value = fmt::format("{:06}", i) + std::string(50'000, 'v');
    r.value = value;
    const auto put = writer.request(grpc::test::RawClient::post("/v3electionpb.Election/Proclaim"),
                                    grpc::test::framed(wire::encode_string(r)), true);
    for (int n = 0; n < 1000 && !writer.streams[put]->ended; ++n) {
      bool done = false;
      loop_.post([&] {
        ServicesTest::carry(*writing, writer);
        carry();
        done = true;
      });
      ASSERT_TRUE(world_.run_until([&] { return done; }, kMaxNs));
      world_.step();
    }
    ASSERT_EQ(writer.streams[put]->status(), "0 ");
  }
  EXPECT_LT(connection_->held_bytes(), size_t{1} << 20);
  EXPECT_GT(rpc_metrics_.watch_queues_full.value(), 0u);
  read_on(id);
  for (int i = 0; i < 400 && messages(stream(id).body).size() < kValues + 1; ++i)
    settle(300 * io::kMillisecond);
  const auto got = messages(stream(id).body);
  ASSERT_EQ(got.size(), static_cast<size_t>(kValues + 1));
  for (int i = 0; i < kValues; ++i) {
    const auto r = wire::decode<electionpb::LeaderResponse>(got[static_cast<size_t>(i) + 1]);
    ASSERT_EQ(r->kv->value.substr(0, 6), fmt::format("{:06}", i));
  }
  bool done = false;
  loop_.post([&] {
    writing.reset();
    done = true;
  });
  ASSERT_TRUE(world_.run_until([&] { return done; }, kMaxNs));
}

TEST_F(ElectionServiceTest, ObserveWithoutALeader) {
  lease(1);
  answer<electionpb::CampaignResponse>(campaign("e", 1, "one"));
  electionpb::LeaderRequest r;
  r.name = "e";
  const auto patient = call("/v3electionpb.Election/Observe", r);
  const auto asked = call_with("v3electionpb.Election/Observe", r, {{"hasleader", "true"}});
  await_observed(asked, {"e/1=one"});
  lose_quorum();
  EXPECT_EQ(end_of(asked), "14 etcdserver: no leader");
  EXPECT_FALSE(stream(patient).ended);
  EXPECT_EQ(end_of(call_with("v3electionpb.Election/Observe", r, {{"hasleader", "true"}})),
            "14 etcdserver: no leader");
  // One that cannot read who leads ends well, as etcd's does.
  EXPECT_EQ(end_of(call("/v3electionpb.Election/Observe", r)), "0 ");
  EXPECT_EQ(end_of(call("/v3electionpb.Election/Leader", r)), "2 etcdserver: request timed out");
}

TEST_F(ElectionServiceTest, ObserveOfNonsense) {
  const auto id = client_->request(grpc::test::RawClient::post("/v3electionpb.Election/Observe"),
                                   grpc::test::framed("\x0a\x05"), true);
  EXPECT_EQ(end_of(id), "13 grpc: failed to unmarshal the received message: unexpected EOF");
}

}  // namespace
}  // namespace quoin::v3rpc
