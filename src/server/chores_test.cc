// What a member does by the clock, and lease renewals, where consensus moves on beneath it.
#include "server/chores.h"

#include "server/life_test.h"
#include "server/raft_stage_test.h"
#include "server/stages.h"

namespace quoin::server {

class MemberPeer {
 public:
  static Stages& stages(Member& member) { return *member.stages_; }
};

namespace {

// A renewal of a lease with a remembered rest takes that rest back first, by an entry. This member has lost its lead
// and has yet to notice: the entry must not reach the log of a later leader, which has given the lease its time
// itself.
TEST(Renewals, TheCheckpointBeforeARenewalIsBoundToTheTerm) {
  sim::World world(1);
  sim::SimDisk disk(world);
  Config config = life_config();
  config.lease_checkpoint = config.lease_checkpoint_persist = true;
  Life life(world, disk, config);
  pb::InternalRaftRequest grant, checkpoint;
  grant.lease_grant.emplace().id = 7;
  grant.lease_grant->ttl = 1'000;
  life.ask(std::move(grant));
  auto& rest = checkpoint.lease_checkpoint.emplace().checkpoints.emplace_back();
  rest.id = 7;
  rest.remaining_ttl = 500;
  life.ask(checkpoint);

  // While it leads it takes the rest back, and renews.
  std::optional<Result<int64_t>> renewed;
  Stages& stages = MemberPeer::stages(life.member());
  const auto renew = [&] {
    std::vector<LeaseRenewal> one;
    one.push_back({LeaseId(7), [&](Result<int64_t> r) { renewed = std::move(r); }});
    stages.chores.renew(std::move(one), life.loop());
  };
  const Index before = life.member().status().applied;
  renew();
  ASSERT_TRUE(life.run_until([&] { return renewed.has_value(); }));
  ASSERT_TRUE(*renewed) << renewed->error().text();
  EXPECT_EQ(**renewed, 1'000);
  EXPECT_EQ(life.member().status().applied, before + 1);

  life.ask(checkpoint);
  renewed.reset();
  // On apply, in the simulation's one thread: nothing of raft runs before the renewal does.
  stages.env.apply.post([&] {
    raft::Message m;
    m.type = raft::MessageType::kHeartbeat;
    m.from = MemberId{2};
    m.to = stages.self;
    m.term = life.member().term() + 1;
    ASSERT_TRUE(RaftStagePeer::node(stages.raft).step(std::move(m)));
    ASSERT_TRUE(stages.raft.leading()) << "as far as others know";
    renew();
  });
  ASSERT_TRUE(life.run_until([&] { return renewed.has_value(); }));
  ASSERT_FALSE(*renewed);
  EXPECT_EQ(renewed->error().code(), Code::kNotPrimary) << renewed->error().text();
}

}  // namespace
}  // namespace quoin::server
