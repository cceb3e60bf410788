// That flags reach what they steer, zeroes included.
#include "cmd/etcd/wiring.h"

#include <gtest/gtest.h>

namespace quoin::cmd {
namespace {

Config read(std::vector<std::string> flags) {
  flags.insert(flags.begin(), {"etcd", "--name=n"});
  const ReadOptions options{.default_host = [] { return std::pair<std::string, std::string>(); }};
  Command c = read_command_line(flags, {}, options);
  EXPECT_EQ(c.action, Command::Action::kRun);
  return c.config;
}

TEST(Wiring, TheMemberIsToldItsFlags) {
  const server::Config c =
      read({"--max-learners=3", "--heartbeat-interval=50", "--election-timeout=700",
            "--backend-batch-limit=-1", "--compaction-batch-limit=7", "--auto-compaction-mode=revision",
            "--auto-compaction-retention=9", "--initial-advertise-peer-urls=http://h:2380",
            "--advertise-client-urls=http://h:2379", "--listen-client-urls=http://127.0.0.1:1",
            "--initial-cluster=n=http://h:2380", "--initial-cluster-state=existing",
            "--feature-gates=LeaseCheckpoint=true"})
          .server;
  const server::Config usual;
  EXPECT_EQ(c.name, "n");
  EXPECT_EQ(c.max_learners, 3);
  EXPECT_EQ(c.heartbeat_ns, 50 * io::kMillisecond);
  EXPECT_EQ(c.election_ticks(), 14);
  EXPECT_EQ(c.backend_batch_limit, usual.backend_batch_limit);
  EXPECT_EQ(c.backend_batch_interval_ns, usual.backend_batch_interval_ns);
  EXPECT_EQ(c.compaction_batch_limit, 7U);
  EXPECT_EQ(c.auto_compaction, server::Config::AutoCompaction::kRevision);
  EXPECT_EQ(c.auto_compaction_retention, 9);
  EXPECT_EQ(c.initial_advertise_peer_urls, std::vector<std::string>{"http://h:2380"});
  EXPECT_EQ(c.advertise_client_urls, std::vector<std::string>{"http://h:2379"});
  ASSERT_EQ(c.initial_cluster.size(), 1U);
  EXPECT_EQ(c.initial_cluster[0].first, "n");
  EXPECT_FALSE(c.new_cluster);
  EXPECT_TRUE(c.lease_checkpoint);
  EXPECT_FALSE(c.lease_checkpoint_persist);
}

TEST(Wiring, Listeners) {
  const Config c = read(
      {"--listen-client-urls=http://127.0.0.1:1,unix://dir/file", "--advertise-client-urls=http://h:1",
       "--listen-peer-urls=http://127.0.0.1:2,unix://peer:3", "--listen-metrics-urls=http://127.0.0.1:4",
       "--listen-client-http-urls=http://127.0.0.1:5", "--raft-read-timeout=7s", "--raft-write-timeout=8s"});
  const front::Options o = front_options(c);
  ASSERT_EQ(o.client.size(), 2U);
  EXPECT_EQ(o.client[0].port, 1);
  EXPECT_TRUE(o.client[1].unix_socket);
  EXPECT_EQ(o.client[1].host, "dir/file");
  ASSERT_EQ(o.peer.size(), 2U);
  EXPECT_EQ(o.peer[1].host, "peer:3");  // the host part is the file's name
  EXPECT_EQ(o.metrics.at(0).port, 4);
  EXPECT_EQ(o.client_http.at(0).port, 5);
  EXPECT_TRUE(o.client.at(0).plain);
  EXPECT_FALSE(o.client.at(0).tls);
  EXPECT_EQ(o.peer_silence_ns, 7 * io::kSecond);
  EXPECT_EQ(o.peer_answer_ns, 8 * io::kSecond);
  EXPECT_FALSE(o.client[0].reuse_port);
  const front::Options shared = front_options(read({"--socket-reuse-port"}));
  EXPECT_TRUE(shared.client.at(0).reuse_port);
  EXPECT_TRUE(shared.peer.at(0).reuse_port);
}

// http and https of one address share its socket; a peer's unix socket speaks no TLS.
TEST(Wiring, SecureAddresses) {
  const Config c = read(
      {"--listen-client-urls=https://127.0.0.1:1,http://127.0.0.1:1,https://127.0.0.1:2,unixs://dir/file",
       "--advertise-client-urls=https://h:1", "--listen-peer-urls=https://127.0.0.1:3,unixs://peer:4",
       "--listen-metrics-urls=https://127.0.0.1:5,http://127.0.0.1:6"});
  const front::Options o = front_options(c);
  const auto kinds = [](const std::vector<front::Address>& addresses) {
    std::string out;
    for (const front::Address& a : addresses) out += a.plain && a.tls ? "both " : a.tls ? "tls " : "plain ";
    return out;
  };
  EXPECT_EQ(kinds(o.client), "both tls tls ");
  EXPECT_EQ(kinds(o.peer), "tls plain ");
  EXPECT_EQ(kinds(o.metrics), "plain tls ");  // sorted
}

TEST(Wiring, KeepaliveFallsBackAsAWhole) {
  const grpc::ConnectionLimits usual;
  const auto limits = [](std::vector<std::string> flags) {
    return front_options(read(std::move(flags))).limits;
  };
  EXPECT_EQ(limits({"--grpc-keepalive-interval=3s", "--grpc-keepalive-timeout=4s"}).keepalive_interval_ns,
            3 * io::kSecond);
  for (const char* zero : {"--grpc-keepalive-interval=0s", "--grpc-keepalive-timeout=0s"}) {
    const auto l = limits({"--grpc-keepalive-interval=3s", "--grpc-keepalive-timeout=4s", zero});
    EXPECT_EQ(l.keepalive_interval_ns, usual.keepalive_interval_ns) << zero;
    EXPECT_EQ(l.keepalive_timeout_ns, usual.keepalive_timeout_ns) << zero;
  }
}

TEST(Wiring, NoLimitOfStreamsIsNoLimit) {
  EXPECT_EQ(front_options(read({"--max-concurrent-streams=7"})).limits.max_concurrent_streams, 7U);
  EXPECT_EQ(front_options(read({"--max-concurrent-streams=0"})).limits.max_concurrent_streams, UINT32_MAX);
}

}  // namespace
}  // namespace quoin::cmd
