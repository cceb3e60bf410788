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
  EXPECT_EQ(o.peer_silence_ns, 7 * io::kSecond);
  EXPECT_EQ(o.peer_answer_ns, 8 * io::kSecond);
  EXPECT_FALSE(o.client[0].reuse_port);
  const front::Options shared = front_options(read({"--socket-reuse-port"}));
  EXPECT_TRUE(shared.client.at(0).reuse_port);
  EXPECT_TRUE(shared.peer.at(0).reuse_port);
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
