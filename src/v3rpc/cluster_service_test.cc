// Members are added, listed, changed and removed.
#include "v3rpc/cluster_service_test.h"

#include "membership/bootstrap.h"

namespace quoin::v3rpc {
namespace {

TEST_F(ClusterServiceTest, AddsALearnerAndRemovesIt) {
  const int64_t before = process_.clock().wall() / io::kSecond;
  const auto added =
      good<pb::MemberAddResponse>("Cluster/MemberAdd", adding({" http://b:2380", "https://a:2380 "}, true));
  const int64_t after = process_.clock().wall() / io::kSecond;
  ASSERT_TRUE(added.header && added.member);
  EXPECT_EQ(added.header->cluster_id, member_->cluster_id().v);
  EXPECT_EQ(added.header->member_id, member_->id().v);
  EXPECT_EQ(added.header->revision, 0);
  EXPECT_EQ(added.header->raft_term, member_->term().v);
  EXPECT_EQ(added.member->peer_urls, (std::vector<std::string_view>{"http://b:2380", "https://a:2380"}));
  EXPECT_EQ(added.member->name, "");
  EXPECT_TRUE(added.member->is_learner);
  bool id_fits = false;
  for (int64_t second = before; second <= after; ++second) {
    id_fits |= membership::member_id({"http://b:2380", "https://a:2380"}, "", second).v == added.member->id;
  }
  EXPECT_TRUE(id_fits);
  ASSERT_EQ(added.members.size(), 2u);
  EXPECT_LT(added.members[0].id, added.members[1].id);
  const pb::Member& self = added.members[added.members[0].id == added.member->id ? 1 : 0];
  EXPECT_EQ(self.name, "m");
  EXPECT_EQ(self.client_urls, std::vector<std::string_view>{"http://localhost:2379"});
  EXPECT_FALSE(self.is_learner);

  EXPECT_EQ(good<pb::MemberListResponse>("Cluster/MemberList", pb::MemberListRequest{}).members.size(), 2u);
  EXPECT_EQ(add({"http://b:2380"}, true), "9 etcdserver: Peer URLs already exists");
  EXPECT_EQ(add({"http://c:2380"}, true), "9 etcdserver: too many learner members in cluster");

  pb::MemberPromoteRequest promote;
  promote.id = added.member->id;
  EXPECT_EQ(ask("Cluster/MemberPromote", promote).status(),
            "9 etcdserver: can only promote a learner member which is in sync with leader");
  promote.id = member_->id().v;
  EXPECT_EQ(ask("Cluster/MemberPromote", promote).status(),
            "9 etcdserver: can only promote a learner member");
  promote.id = 5;
  EXPECT_EQ(ask("Cluster/MemberPromote", promote).status(), "5 etcdserver: member not found");

  pb::MoveLeaderRequest move;
  move.target_id = added.member->id;
  EXPECT_EQ(ask("Maintenance/MoveLeader", move).status(), "9 etcdserver: bad leader transferee");
  move.target_id = 5;
  EXPECT_EQ(ask("Maintenance/MoveLeader", move).status(), "9 etcdserver: bad leader transferee");
  move.target_id = member_->id().v;
  EXPECT_EQ(ask("Maintenance/MoveLeader", move).status(), "0 ");

  pb::MemberRemoveRequest remove;
  remove.id = added.member->id;
  const auto removed = good<pb::MemberRemoveResponse>("Cluster/MemberRemove", remove);
  ASSERT_EQ(removed.members.size(), 1u);
  EXPECT_EQ(removed.members[0].id, member_->id().v);
  EXPECT_EQ(removed.header->revision, 0);
  EXPECT_EQ(ask("Cluster/MemberRemove", remove).status(), "5 etcdserver: member not found");
  remove.id = member_->id().v;
  EXPECT_EQ(ask("Cluster/MemberRemove", remove).status(),
            "2 etcdserver: re-configuration failed due to not enough started members");
}

TEST_F(ClusterServiceTest, UpdatesPeerUrls) {
  pb::MemberUpdateRequest update;
  update.id = member_->id().v;
  update.peer_urls = {"http://z:1", "http://a:1"};
  const auto updated = good<pb::MemberUpdateResponse>("Cluster/MemberUpdate", update);
  ASSERT_EQ(updated.members.size(), 1u);
  EXPECT_EQ(updated.members[0].peer_urls, update.peer_urls);  // in the client's order, as etcd
  EXPECT_EQ(updated.members[0].name, "m");
  update.id = 5;
  EXPECT_EQ(ask("Cluster/MemberUpdate", update).status(), "5 etcdserver: member not found");
  for (const std::string_view url : {"", "a:1", "http://a", "http://a:1/x", "ftp://a:1"}) {
    update.peer_urls = {url};
    EXPECT_EQ(ask("Cluster/MemberUpdate", update).status(), "3 etcdserver: given member URLs are invalid")
        << url;
  }
  update.peer_urls = {};
  EXPECT_EQ(ask("Cluster/MemberUpdate", update).status(), "3 etcdserver: given member URLs are invalid");
}

TEST_F(ClusterServiceTest, RefusesBadUrls) {
  const std::string refused = "3 etcdserver: given member URLs are invalid";
  EXPECT_EQ(add({}, false), refused);
  for (const std::string_view url :
       {"", "a:1", "http://a", "http://a:1/x", "http://a:1/", "ftp://a:1", "http://[::1"}) {
    EXPECT_EQ(add({url}, true), refused) << url;
    EXPECT_EQ(add({"http://good:1", url}, true), refused) << url;
  }
  EXPECT_EQ(member_->members().size(), 1u);
  EXPECT_EQ(add({"unix://somewhere/else"}, true), "0 ");
}

// What is waited for without a quorum: each ends as its client does, and leaves nothing.
TEST_F(ClusterServiceTest, ChangesWaitForTheirClientsAlone) {
  lose_quorum();
  pb::MemberUpdateRequest update;
  update.id = member_->id().v;
  update.peer_urls = {"http://z:1"};
  const auto waits = call_with("etcdserverpb.Cluster/MemberUpdate", update, {});
  const auto late = call_with("etcdserverpb.Cluster/MemberUpdate", update, {{"grpc-timeout", "1S"}});
  settle(3 * io::kSecond);
  EXPECT_TRUE(connection_->tick(process_.clock().monotonic()));
  settle();
  EXPECT_TRUE(stream(late).closed);
  EXPECT_FALSE(stream(waits).ended);
  EXPECT_EQ(metric("etcd_server_proposals_pending"), 1);
  client_->session.reset(waits, http2::ErrorCode::kCancel);
  settle();
  EXPECT_EQ(metric("etcd_server_proposals_pending"), 0);
  EXPECT_EQ(metric("etcd_server_proposals_failed_total"), 0);
  EXPECT_EQ(add({"http://c:2380"}, true), "14 etcdserver: unhealthy cluster");
}

}  // namespace
}  // namespace quoin::v3rpc
