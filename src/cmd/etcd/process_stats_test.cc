#include "cmd/etcd/process_stats.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

#include "cmd/etcd/config_start.h"

namespace quoin::cmd {
namespace {

TEST(ProcessStats, StatLine) {
  const auto s = parse_stat(
      "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 111 222 13 14 15 16 17 18 12345 99999 777 18446744073709551615 1 "
      "2\n");
  ASSERT_TRUE(s);
  EXPECT_EQ(s->user_ticks, 111U);
  EXPECT_EQ(s->system_ticks, 222U);
  EXPECT_EQ(s->threads, 17U);
  EXPECT_EQ(s->start_ticks, 12345U);
  EXPECT_EQ(s->virtual_bytes, 99999U);
  EXPECT_EQ(s->resident_pages, 777U);
  for (const std::string_view bad : {"", "1", "1 (x)", "1 (x) S 1 2 3"}) EXPECT_FALSE(parse_stat(bad)) << bad;
}

TEST(ProcessStats, Netstat) {
  EXPECT_EQ(parse_netstat("TcpExt: A B\nTcpExt: 1 2\nIpExt: X InOctets OutOctets\nIpExt: 5 77 88\n"),
            (std::pair<double, double>{77, 88}));
  EXPECT_EQ(parse_netstat("IpExt: InOctets\n"), (std::pair<double, double>{0, 0}));
}

// In a thread of its own, so that nothing else of the test is held to one processor.
TEST(ProcessStats, ProcessorsAreThoseThatMayBeUsed) {
  EXPECT_GE(usable_processors(), 1);
  std::thread([] {
    cpu_set_t may, one;
    ASSERT_EQ(sched_getaffinity(0, sizeof may, &may), 0);
    size_t first = 0;
    while (!CPU_ISSET(first, &may)) ++first;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    EXPECT_EQ(usable_processors(), 1);
  }).join();
}

TEST(ProcessStats, OfThisProcess) {
  const auto s = read_process_stats();
  EXPECT_GE(s.threads, 1);
  EXPECT_GE(s.open_fds, 3);
  EXPECT_GE(s.max_fds, s.open_fds);
  EXPECT_GT(s.resident_bytes, 1 << 20);
  EXPECT_GT(s.virtual_bytes, s.resident_bytes);
  EXPECT_GT(s.start_time_seconds, 1.6e9);
  EXPECT_GE(s.cpus, 1);
  EXPECT_GE(s.heap.system_bytes, 0);  // allocators of sanitizers report nothing
  EXPECT_GE(s.heap.allocations_total, s.heap.frees_total);
}

class KeyRecorder final : public log::Logger {
 public:
  bool enabled(log::Level) const override { return true; }
  void log(const log::Event& e) override {
    message = e.message;
    for (const log::Field& f : e.fields) {
      keys += std::string(f.key) + " ";
      if (f.key == "initial-cluster") cluster = std::get<std::string_view>(f.value);
    }
  }
  std::string message, keys, cluster;
};

TEST(ConfigStart, KeysInEtcdsOrder) {
  ReadOptions options{.default_host = [] { return std::pair<std::string, std::string>(); }};
  const Command c = read_command_line({"etcd", "--name=n"}, {}, options);
  KeyRecorder fresh, restarted;
  log_starting(c.config, false, 2, fresh);
  log_starting(c.config, true, 2, restarted);
  EXPECT_EQ(fresh.message, "starting an etcd server");
  EXPECT_EQ(fresh.cluster, "n=http://localhost:2380");
  EXPECT_EQ(restarted.cluster, "");
  EXPECT_EQ(
      fresh.keys,
      "etcd-version git-sha go-version go-os go-arch max-cpu-set max-cpu-available member-initialized name "
      "data-dir "
      "wal-dir wal-dir-dedicated member-dir force-new-cluster heartbeat-interval election-timeout "
      "initial-election-tick-advance snapshot-count max-wals max-snapshots snapshot-catchup-entries "
      "initial-advertise-peer-urls listen-peer-urls advertise-client-urls listen-client-urls "
      "listen-metrics-urls "
      "experimental-local-address cors host-whitelist initial-cluster initial-cluster-state "
      "initial-cluster-token "
      "quota-backend-bytes max-request-bytes max-concurrent-streams pre-vote feature-gates "
      "initial-corrupt-check "
      "corrupt-check-time-interval compact-check-time-interval auto-compaction-mode "
      "auto-compaction-retention "
      "auto-compaction-interval discovery-url discovery-proxy discovery-token discovery-endpoints "
      "discovery-dial-timeout discovery-request-timeout discovery-keepalive-time discovery-keepalive-timeout "
      "discovery-insecure-transport discovery-insecure-skip-tls-verify discovery-cert discovery-key "
      "discovery-cacert "
      "discovery-user downgrade-check-interval max-learners v2-deprecation ");
}

}  // namespace
}  // namespace quoin::cmd
