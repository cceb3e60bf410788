// What a member asks the others before it founds or joins a cluster with them, and what it makes of the answers.
#include <gtest/gtest.h>

#include "base/coding.h"
#include "membership/bootstrap.h"
#include "server/life_test.h"
#include "server/no_peers.h"

namespace quoin::server {
namespace {

constexpr uint64_t kCluster = 0xc1, kOther = 0x2, kSelf = 0x3;

// The members of a running cluster, as their peer ports answer.
class RunningCluster : public NoPeers {
 public:
  Result<PeerAnswer> fetch_now(std::string url, PeerRequest request) override {
    asked.push_back(url + request.path);
    if (!running) return Error(Code::kIo, "dial tcp 127.0.0.1:1: connect: connection refused");
    PeerAnswer answer;
    answer.status = 200;
    answer.fields = {{"X-Etcd-Cluster-Id", hex(kCluster)}};
    if (request.path == "/members") {
      answer.body = members;
    } else if (request.path == "/version") {
      answer.body = R"({"etcdserver":"3.6.16","etcdcluster":")" + version + R"("})";
    } else {
      answer.body = downgrading ? "true" : "false";
    }
    return answer;
  }
  bool running = true, downgrading = false;
  std::string version = "3.6.0";
  std::string members =
      R"([{"id":2,"peerURLs":["http://other:2380"],"name":"other","clientURLs":["http://other:2379"]},)"
      R"({"id":3,"peerURLs":["http://localhost:2380"]}])";
  std::vector<std::string> asked;
};

class Join : public ::testing::Test {
 protected:
  Join() {
    config.new_cluster = false;
    config.initial_cluster.emplace_back("other", std::vector<std::string>{"http://other:2380"});
  }
  std::string error() {
    MemberProcess m(world, disk, config, &cluster);
    return m.start_error ? std::string(m.start_error->text()) : std::string();
  }
  sim::World world{1};
  sim::SimDisk disk{world};
  RunningCluster cluster;
  Config config = life_config();
};

TEST_F(Join, TakesItsIdAndTheOthersFromTheCluster) {
  MemberProcess m(world, disk, config, &cluster);
  ASSERT_FALSE(m.start_error) << m.start_error->text();
  EXPECT_EQ(m.member().id(), MemberId{kSelf});
  EXPECT_EQ(m.member().cluster_id(), ClusterId{kCluster});
  const auto members = m.member().members();
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(members[0].id, MemberId{kOther});
  EXPECT_EQ(members[0].name, "other");
  m.run();
  m.pass(30 * io::kSecond);
  EXPECT_EQ(m.member().leader(), MemberId()) << "it is no voter before its log says so";
}

// A joiner's log that holds no entry looks like that of a founder which ended early. Founding on it would make a
// cluster of its own under the ids of the one that runs.
TEST_F(Join, WhoEndedBeforeTheFirstEntryJoinsAgain) {
  { MemberProcess first(world, disk, config, &cluster); }
  disk.crash();
  cluster.asked.clear();
  {
    MemberProcess again(world, disk, config, &cluster);
    ASSERT_FALSE(again.start_error) << again.start_error->text();
    EXPECT_EQ(again.member().id(), MemberId{kSelf});
    EXPECT_FALSE(cluster.asked.empty());
    again.run();
    again.pass(30 * io::kSecond);
    EXPECT_EQ(again.member().leader(), MemberId());
    EXPECT_FALSE(again.log.contains("founding again"));
  }
  cluster.running = false;
  EXPECT_EQ(
      error(),
      "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs");
  // With the flags of a founder the log is somebody else's.
  config.new_cluster = true;
  EXPECT_NE(error().find("was made for another member or cluster"), std::string::npos) << error();
}

TEST_F(Join, RefusesWhatDoesNotFit) {
  cluster.members = R"([{"id":2,"peerURLs":["http://other:2380"],"name":"other"}])";
  EXPECT_NE(error().find("member count is unequal"), std::string::npos) << error();
  cluster.members = R"([{"id":2,"peerURLs":["http://b:1"]},{"id":3,"peerURLs":["http://localhost:2380"]}])";
  EXPECT_NE(error().find("PeerURLs: no match found for existing member (2, [http://b:1])"), std::string::npos)
      << error();
  cluster.members = "[]";
  EXPECT_EQ(
      error(),
      "cannot fetch cluster info from peer urls: failed to get raft cluster member(s) from the given URLs");
  cluster = {};
  for (const std::string version : {"3.7.0", "not_decided"}) {
    cluster.version = version;
    EXPECT_EQ(error(), "incompatible with current running cluster") << version;
  }
  // While a cluster goes down to this server's version, its own is one minor above.
  cluster.version = "3.6.0";
  cluster.downgrading = true;
  EXPECT_EQ(error(), "incompatible with current running cluster");
  cluster.version = "3.7.0";
  EXPECT_EQ(error(), "");
}

TEST_F(Join, MoreLearnersThanAllowedAreRefused) {
  cluster.members = R"([{"id":2,"peerURLs":["http://other:2380"],"isLearner":true},)"
                    R"({"id":3,"peerURLs":["http://localhost:2380"],"isLearner":true}])";
  EXPECT_EQ(error(), "membership: too many learner members in cluster");
}

TEST_F(Join, AFounderThatTheOthersKnowIsRefused) {
  config.new_cluster = true;
  membership::InitialCluster initial;
  for (const auto& [name, urls] : config.initial_cluster) initial[name] = urls;
  const auto founders = membership::found_cluster(initial, config.initial_cluster_token, config.name);
  ASSERT_TRUE(founders);
  cluster.members = fmt::format(
      R"([{{"id":{},"peerURLs":["http://localhost:2380"],"name":"m","clientURLs":["http://localhost:2379"]}}])",
      founders->local_id.v);
  EXPECT_EQ(error(), fmt::format("member {} has already been bootstrapped", hex(founders->local_id.v)));
  cluster.running = false;
  EXPECT_EQ(error(), "") << "nobody runs yet";
}

}  // namespace
}  // namespace quoin::server
