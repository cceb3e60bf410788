// The leader is lost with the quorum: what happens to those who asked for one.
#include "v3rpc/leader_monitor.h"

#include "v3rpc/cluster_service_test.h"

namespace quoin::v3rpc {
namespace {

class LeaderMonitorTest : public ClusterServiceTest {};

TEST_F(LeaderMonitorTest, NoLeader) {
  const std::string none = "14 etcdserver: no leader";
  pb::WatchRequest watch;
  watch.set_create_request().key = "k";
  pb::LeaseKeepAliveRequest alive;
  alive.id = 9;
  const auto open = [&](std::vector<std::pair<std::string, std::string>> headers) {
    return std::vector<http2::StreamId>{call_with("etcdserverpb.Watch/Watch", watch, headers, false),
                                        call_with("etcdserverpb.Lease/LeaseKeepAlive", alive, headers, false),
                                        client_->request(
                                            [&] {
                                              auto head =
                                                  grpc::test::RawClient::post("/grpc.health.v1.Health/Watch");
                                              head.insert(head.end(), headers.begin(), headers.end());
                                              return head;
                                            }(),
                                            grpc::test::framed({}), true)};
  };
  const auto asked = open({{"hasleader", "true"}});
  const auto others = open({{"hasleader", "True"}});
  const auto silent = open({});
  settle();
  lose_quorum();
  // The streams have a little more time than calls.
  pb::RangeRequest range;
  range.key = "k";
  range.serializable = true;
  const auto refused = call_with("etcdserverpb.KV/Range", range, {{"hasleader", "true"}});
  const auto served = call_with("etcdserverpb.KV/Range", range, {{"hasleader", "1"}});
  run_until([&] { return stream(refused).ended && stream(served).ended; });
  EXPECT_EQ(stream(refused).status(), none);
  EXPECT_EQ(stream(served).status(), "0 ");
  settle(io::kSecond);
  for (const http2::StreamId id : asked) EXPECT_FALSE(stream(id).ended) << id;
  settle(3 * io::kSecond);
  EXPECT_EQ(stream(asked[0]).status(), none);
  EXPECT_EQ(stream(asked[1]).status(), none);
  EXPECT_EQ(stream(asked[2]).status(), "1 Stream has ended.");
  // The one that was not asked for: LeaseKeepAlive ends by itself, since nobody renews.
  for (const size_t i : {0u, 2u}) {
    EXPECT_FALSE(stream(others[i]).ended);
    EXPECT_FALSE(stream(silent[i]).ended);
  }
  const auto again = open({{"hasleader", "true"}});
  settle();
  EXPECT_EQ(stream(again[0]).status(), none);
  EXPECT_EQ(stream(again[1]).status(), none);
  EXPECT_EQ(stream(again[2]).status(), none);
}

// More streams than are ended in one turn, most of which are gone by then.
TEST_F(LeaderMonitorTest, ManyStreams) {
  pb::WatchRequest watch;
  watch.set_create_request().key = "k";
  std::vector<http2::StreamId> open;
  for (size_t i = 0; i < 5 * LeaderMonitor::kEndedPerTurn; ++i) {
    const auto id = call_with("etcdserverpb.Watch/Watch", watch, {{"hasleader", "true"}}, false);
    if (i % 2 == 0) {
      open.push_back(id);
    } else {
      settle(io::kMillisecond);
      client_->session.reset(id, http2::ErrorCode::kCancel);
    }
  }
  lose_quorum();
  settle(5 * io::kSecond);
  for (const auto id : open) EXPECT_EQ(stream(id).status(), "14 etcdserver: no leader") << id;
  EXPECT_EQ(calls_.size(), 0u);
}

}  // namespace
}  // namespace quoin::v3rpc
