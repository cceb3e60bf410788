// Questions and answers beside raft's messages, probes, and the small parts they are made of.
#include <algorithm>

#include "base/coding.h"
#include "peer/budget.h"
#include "peer/cluster_test.h"
#include "peer/compatibility.h"
#include "peer/prober.h"
#include "peer/rfc3339.h"
#include "peer/url.h"
#include "raft/codec.h"

namespace quoin::peer {
namespace {

std::string outcome(const Result<server::PeerAnswer>& answer) {
  return answer ? fmt::format("{} {}", answer->status, answer->body) : std::string(answer.error().text());
}

TEST(Fetch, AnswersOnTheExecutorGiven) {
  Cluster c(1);
  Node &a = c.add(1), &b = c.add(2);
  std::string got;
  a.transport().fetch(b.url, {.path = "/raft/probing"}, a.raft, [&](Result<server::PeerAnswer> answer) {
    EXPECT_TRUE(a.raft.running_here());
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->status, 200u);
    got = answer->body;
  });
  ASSERT_TRUE(c.until([&] { return !got.empty(); }));
  EXPECT_TRUE(got.starts_with("{\"OK\":true"));
  EXPECT_EQ(outcome(a.transport().fetch_now(b.url, {.path = "/nothing"})), "404 404 page not found\n");
  EXPECT_EQ(outcome(a.transport().fetch_now(b.url, {.method = "POST", .path = "/raft", .body = "x"})),
            "412 incompatible version\n");
}

TEST(Fetch, FailsInGosWords) {
  Cluster c(2);
  Node &a = c.add(1), &b = c.add(2);
  const auto ask = [&](const std::string& url, server::PeerRequest request) {
    return a.transport().fetch_now(url, std::move(request));
  };
  EXPECT_EQ(outcome(ask("http://m2:1", {.path = "/"})), "dial tcp m2:1: connect: connection refused");
  EXPECT_EQ(ask("http://nohost:1", {.path = "/"}).error().code(), Code::kNotFound);
  EXPECT_EQ(ask("https://m2:2380", {.path = "/"}).error().code(), Code::kUnsupported);
  EXPECT_EQ(ask("m2:2380", {.path = "/"}).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(ask(b.url, {.path = "/raft/probing", .answer_bytes_max = 5}).error().code(), Code::kLimit);
  c.net.partition("m1", "m2");
  const io::MonotonicNs began = c.world.now();
  EXPECT_EQ(outcome(ask(b.url, {.path = "/raft/probing", .timeout_ns = io::kSecond})),
            "context deadline exceeded");
  EXPECT_LE(c.world.now() - began, io::kSecond + 10 * io::kMillisecond);
}

// A peer that takes the question and never answers, or never comes to the end of its answer.
TEST(Fetch, EndsInItsTimeWhateverThePeerDoes) {
  Cluster c(4);
  Node &a = c.add(1), &b = c.add(2);
  b.member.never_answer = true;
  const raft::Message m = message(raft::MessageType::kAppResp, a, b, 1);
  const server::PeerRequest post{.method = "POST",
                                 .path = "/raft",
                                 .fields = {{"X-Etcd-Cluster-Id", hex(kCluster.v)},
                                            {"X-Server-Version", "3.6.0"},
                                            {"X-Min-Cluster-Version", "3.0.0"}},
                                 .body = raft::encode_string(m),
                                 .timeout_ns = 2 * io::kSecond};
  const io::MonotonicNs began = c.world.now();
  EXPECT_EQ(outcome(a.transport().fetch_now(b.url, post)), "context deadline exceeded");
  EXPECT_EQ(b.member.processed.size(), 1u);
  EXPECT_LE(c.world.now() - began, 2 * io::kSecond + 10 * io::kMillisecond);
}

// Also where the loop of the connections does not run any more: the start of a member would hang.
TEST(Fetch, EndsWithoutALoop) {
  Cluster c(5);
  Node& a = c.add(1);
  Transport alone({},
                  {a.network, a.loop, a.process.timers(), a.process.clock(), a.files, a.registry, a.log, {}});
  EXPECT_EQ(outcome(alone.fetch_now("http://m1:2380", {.path = "/", .timeout_ns = 1})),
            "context deadline exceeded");
}

TEST(Prober, TellsRoundTripsAndClocks) {
  Cluster c(3);
  c.form(2);
  Node &a = c[1], &b = c[2];
  c.world.run_for(6 * io::kSecond);
  EXPECT_EQ(a.metric("etcd_network_peer_round_trip_time_seconds", "102"), 2);  // two probers
  c.world.run_for(30 * io::kSecond);
  EXPECT_EQ(a.metric("etcd_network_peer_round_trip_time_seconds", "102"), 4);
  EXPECT_FALSE(a.log.contains("prober"));
  a.process.clock().jump_wall(3 * io::kSecond);
  c.world.run_for(35 * io::kSecond);
  EXPECT_EQ(a.log.count("warn prober found high clock drift round-tripper-name=ROUND_TRIPPER_RAFT_MESSAGE "
                        "remote-peer-id=102 clock-drift=2999"),
            1u);
  EXPECT_EQ(a.log.count("warn prober found high clock drift round-tripper-name=ROUND_TRIPPER_SNAPSHOT"), 1u);
  EXPECT_FALSE(b.log.contains("high clock drift"));  // only a clock that is behind is told of
  b.kill();
  c.world.run_for(45 * io::kSecond);
  EXPECT_GE(a.log.count("warn prober detected unhealthy status round-tripper-name=ROUND_TRIPPER_RAFT_MESSAGE "
                        "remote-peer-id=102 rtt="),
            2u);
  EXPECT_TRUE(a.log.contains("error=dial tcp m2:2380: connect: connection refused"));
}

TEST(Prober, ReadsItsAnswer) {
  const io::WallNs at = 1'763'693'948 * io::kSecond + 271'550'079;
  EXPECT_EQ(probing_answer(at), "{\"OK\":true,\"Now\":\"2025-11-21T02:59:08.271550079Z\"}\n");
  EXPECT_EQ(*parse_probing_answer(probing_answer(at)), at);
  EXPECT_EQ(*parse_probing_answer("{ \"Now\" : \"2025-11-21T03:59:08+01:00\" , \"OK\" : true }"),
            at - 271'550'079);
  for (const char* bad :
       {"", "{}", "{\"OK\":false,\"Now\":\"2025-11-21T02:59:08Z\"}", "{\"OK\":true}",
        "{\"OK\":true,\"Now\":\"yesterday\"}", "{\"OK\":true,\"Now\":\"2025-11-21T02:59:08\"}"}) {
    EXPECT_FALSE(parse_probing_answer(bad)) << bad;
  }
}

TEST(Rfc3339, IsGos) {
  EXPECT_EQ(rfc3339(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(rfc3339(500'000'000), "1970-01-01T00:00:00.5Z");
  EXPECT_EQ(*parse_rfc3339("1970-01-01T00:00:00.5Z"), 500'000'000);
  EXPECT_EQ(*parse_rfc3339("1970-01-02T00:00:00-23:59"), (86'400 + 86'340) * io::kSecond);
  for (const char* bad : {"1970-13-01T00:00:00Z", "9999-01-01T00:00:00Z", "1970-01-01T00:00:00.Z",
                          "1970-01-01", "1970-01-01T00:00:00Zx"}) {
    EXPECT_FALSE(parse_rfc3339(bad)) << bad;
  }
}

TEST(Url, IsSchemeAndHost) {
  const auto text = [](const std::string& url) {
    const Result<Url> u = parse_url(url);
    if (!u) return std::string("refused");
    return fmt::format("{}{}{} {} {}", u->tls ? "tls " : "", u->address.unix_socket ? "unix " : "",
                       u->address.host, u->address.port, u->host);
  };
  EXPECT_EQ(text("http://10.0.0.1:2380"), "10.0.0.1 2380 10.0.0.1:2380");
  EXPECT_EQ(text("http://10.0.0.1:2380/"), "10.0.0.1 2380 10.0.0.1:2380");
  EXPECT_EQ(text("https://name:1"), "tls name 1 name:1");
  EXPECT_EQ(text("http://[::1]:2380"), "::1 2380 [::1]:2380");
  EXPECT_EQ(text("http://[::1]"), "::1 80 [::1]");
  EXPECT_EQ(text("http://name"), "name 80 name");
  EXPECT_EQ(text("unix://localhost:2380"), "unix localhost:2380 0 localhost:2380");
  for (const char* bad :
       {"", "name:1", "ftp://name:1", "http://", "http://:1", "http://name:x", "http://name:99999",
        "http://name:1/path", "http://a@b:1", "http://[::1:2", "http://[::1]x:1", "http://name:1?x"}) {
    EXPECT_EQ(text(bad), "refused") << bad;
  }
}

TEST(Version, OrdersByMajorAndMinor) {
  const auto v = [](std::string_view s) { return *parse_version(s); };
  EXPECT_EQ(v("3.6.14").text(), "3.6.14");
  EXPECT_EQ(v("3.7.0-rc.1+x").text(), "3.7.0-rc.1+x");
  EXPECT_EQ(compare_minor(v("3.6.14"), v("3.6.0-rc.1")), 0);
  EXPECT_EQ(compare_minor(v("3.10.0"), v("3.9.1")), 1);
  EXPECT_EQ(compare_minor(v("2.9.0"), v("3.0.0")), -1);
  for (const char* bad : {"", "3", "3.6", "3.6.", "a.b.c", "3.6.14x", "-3.6.1", "3.6.99999999999999999999"}) {
    EXPECT_FALSE(parse_version(bad)) << bad;
  }
  EXPECT_TRUE(has_streams("3.5.0"));
  EXPECT_TRUE(has_streams("4.1.0"));
  EXPECT_TRUE(has_streams("2.1.0"));
  EXPECT_FALSE(has_streams("2.0.0"));
  EXPECT_FALSE(has_streams("2.4.0"));
  EXPECT_FALSE(has_streams(std::nullopt));
  EXPECT_FALSE(has_streams("x"));
}

TEST(Budget, TellsWhenThereIsRoom) {
  sim::World world(1);
  sim::Process& process = world.start_process("p");
  sim::SimExecutor& loop = process.executor("loop");
  metrics::Gauge gauge;
  const auto budget = std::make_shared<Budget>(loop, gauge);
  server::Charge a = budget->charge(100), b = budget->charge(50), copy = a;
  EXPECT_EQ(budget->held(), 150u);
  EXPECT_EQ(budget->messages(), 2u);
  EXPECT_EQ(gauge.value(), 150);
  int room = 0;
  budget->when_below(60, [&] { ++room; });
  a.reset();
  world.run_idle();
  EXPECT_EQ(room, 0);
  copy.reset();
  world.run_idle();
  EXPECT_EQ(room, 1);
  budget->when_below(60, [&] { ++room; });  // already so
  world.run_idle();
  EXPECT_EQ(room, 2);
  server::Charge c = budget->charge(1000);
  budget->when_below(60, [&] { ++room; });
  budget->stop();
  c.reset();
  b.reset();
  world.run_idle();
  EXPECT_EQ(room, 2);
  EXPECT_EQ(gauge.value(), 0);
}

// Who waits for room may end between the release and the loop's task.
TEST(Budget, RoomThatWasAnnouncedIsTakenBackByStop) {
  sim::World world(1);
  sim::Process& process = world.start_process("p");
  sim::SimExecutor& loop = process.executor("loop");
  metrics::Gauge gauge;
  const auto budget = std::make_shared<Budget>(loop, gauge);
  server::Charge a = budget->charge(100);
  int room = 0;
  budget->when_below(50, [&] { ++room; });
  a.reset();  // the task is posted
  budget->stop();
  world.run_idle();
  EXPECT_EQ(room, 0);
}

}  // namespace
}  // namespace quoin::peer
