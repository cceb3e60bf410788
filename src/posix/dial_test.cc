// Outgoing connections and look-ups (io/stream.h, io/resolver.h) against servers of the test's own.
#include "posix/dial.h"

#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include <chrono>
#include <filesystem>
#include <future>

#include "io/clock.h"
#include "posix/address_order.h"
#include "posix/dns_server_test.h"
#include "posix/resolver.h"

namespace quoin::posix {
namespace {

using Way = DnsServer::Way;

// Takes connections, or (hangs) leaves whoever connects without an answer: its queue is full.
class Target {
 public:
  explicit Target(const char* host, uint16_t port = 0, bool hangs = false) {
    const auto a = numeric_address(host, port);
    fd_ = socket(a->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1;
    setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    CHECK_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&a->address), a->length), 0);
    CHECK_EQ(listen(fd_, hangs ? 0 : 64), 0);
    sockaddr_storage own = {};
    socklen_t n = sizeof own;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&own), &n);
    port_ = port_of(own);
    for (int i = 0; hangs && i < 3; ++i) {
      fill_[i] = socket(a->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      (void)connect(fill_[i], reinterpret_cast<sockaddr*>(&own), n);
    }
  }
  ~Target() {
    close(fd_);
    for (const int fd : fill_) {
      if (fd >= 0) close(fd);
    }
  }
  uint16_t port() const { return port_; }
  // Whom it took a connection from, or nothing.
  std::string accepted() {
    sockaddr_storage from = {};
    socklen_t n = sizeof from;
    const int fd = accept(fd_, reinterpret_cast<sockaddr*>(&from), &n);
    if (fd < 0) return "";
    close(fd);
    const std::string text = address_text(from);
    return text.substr(0, text.rfind(':'));
  }

 private:
  int fd_;
  int fill_[3] = {-1, -1, -1};
  uint16_t port_ = 0;
};

size_t open_descriptors() {
  const std::filesystem::directory_iterator fds("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(fds), end(fds)));
}

class Dialling : public testing::Test {
 protected:
  void serve(std::map<std::string, DnsServer::Name> names, int try_timeout_ms = 0, int tries = 0) {
    dns_.emplace(std::move(names));
    network_.emplace(DnsOptions{dns_->address(), try_timeout_ms, tries});
  }
  void SetUp() override {
    network_.emplace();
    {
      Target target("127.0.0.1");
      dial("127.0.0.1", target.port());  // the loop opens one descriptor for itself with its first stream
    }
    for (int i = 0; i < 3; ++i) run_on_loop([] {});
    descriptors_ = open_descriptors();
  }
  void TearDown() override {
    network_.reset();
    dns_.reset();
    // What was closed is gone once the loop went round.
    for (int i = 0; i < 3; ++i) run_on_loop([] {});
    EXPECT_EQ(open_descriptors(), descriptors_);
  }
  void run_on_loop(Task task) {
    std::promise<void> done;
    loop_.post([&] {
      task();
      done.set_value();
    });
    done.get_future().wait();
  }
  struct Told {
    std::promise<std::string> promise;
    std::future<std::string> future = promise.get_future();
    std::unique_ptr<io::Connecting> attempt;
    std::atomic<int> times{0};
  };
  // "ok <peer>" or the error.
  std::unique_ptr<Told> start(const std::string& host, uint16_t port, io::ConnectOptions options = {},
                              bool unix_socket = false) {
    auto told = std::make_unique<Told>();
    told->attempt = network_->connect(
        {unix_socket, host, port}, options, loop_, [t = told.get()](Result<std::unique_ptr<io::Stream>> r) {
          if (++t->times > 1) return;
          code_ = r ? Code::kStopped : r.error().code();
          t->promise.set_value(r ? "ok " + (*r)->peer_address() : std::string(r.error().text()));
        });
    return told;
  }
  std::string dial(const std::string& host, uint16_t port, io::ConnectOptions options = {},
                   bool unix_socket = false) {
    auto told = start(host, port, options, unix_socket);
    if (told->future.wait_for(std::chrono::seconds(60)) != std::future_status::ready) return "nothing";
    std::string result = told->future.get();
    told->attempt.reset();
    return result;
  }

  static inline std::atomic<Code> code_{Code::kStopped};
  UvLoop loop_{"loop"};
  std::optional<DnsServer> dns_;
  std::optional<UvNetwork> network_;
  size_t descriptors_ = 0;
};

TEST_F(Dialling, ErrorsAreInGosWords) {
  Target target("127.0.0.1");
  const std::string there = fmt::format("127.0.0.1:{}", target.port());
  EXPECT_EQ(dial("127.0.0.1", target.port()), "ok " + there);
  EXPECT_EQ(dial("localhost", target.port()), "ok " + there) << "by the hosts file; ::1 may refuse before";
  uint16_t closed = 0;
  {
    Target gone("127.0.0.1");
    closed = gone.port();
  }
  EXPECT_EQ(dial("127.0.0.1", closed),
            fmt::format("dial tcp 127.0.0.1:{}: connect: connection refused", closed));
  EXPECT_EQ(code_, Code::kIo);
  EXPECT_EQ(dial("::1", closed), fmt::format("dial tcp [::1]:{}: connect: connection refused", closed));
  EXPECT_EQ(dial("/nowhere/at-all", 0, {}, true),
            "dial unix /nowhere/at-all: connect: no such file or directory");
  Target hangs("127.0.0.1", 0, true);
  EXPECT_EQ(dial("127.0.0.1", hangs.port(), {.timeout_ns = 100 * io::kMillisecond}),
            fmt::format("dial tcp 127.0.0.1:{}: i/o timeout", hangs.port()));
  EXPECT_EQ(code_, Code::kContextDeadlineExceeded);
}

TEST_F(Dialling, ALocalAddressIsBound) {
  Target target("127.0.0.1");
  EXPECT_EQ(dial("127.0.0.1", target.port(), {.local_address = "127.0.0.7"}),
            fmt::format("ok 127.0.0.1:{}", target.port()));
  EXPECT_EQ(target.accepted(), "127.0.0.7");
  EXPECT_EQ(dial("127.0.0.1", target.port(), {.local_address = "192.0.2.1"}),
            fmt::format("dial tcp 192.0.2.1:0->127.0.0.1:{}: bind: cannot assign requested address",
                        target.port()));
  EXPECT_EQ(dial("127.0.0.1", target.port(), {.local_address = "::1"}),
            "dial tcp: address [::1]:0: no suitable address found");
  EXPECT_EQ(dial("127.0.0.1", target.port(), {.local_address = "name"}),
            "dial tcp: invalid local address name");
}

// Nothing of a look-up may hold the loop up: the server answers only after the loop has run other tasks.
TEST_F(Dialling, TheLoopRunsOnWhileANameIsLookedUp) {
  serve({{"held.test", {Way::kHeld, {"127.0.0.1"}}}});
  Target target("127.0.0.1");
  auto told = start("held.test", target.port());
  while (dns_->asked() == 0) run_on_loop([] {});
  for (int i = 0; i < 1000; ++i) run_on_loop([] {});
  EXPECT_EQ(told->times, 0);
  dns_->release();
  EXPECT_EQ(told->future.get(), fmt::format("ok 127.0.0.1:{}", target.port()));
  told->attempt.reset();
}

TEST_F(Dialling, ServersThatMisbehave) {
  DnsServer::Name big{Way::kTruncated, {"127.0.0.1"}}, huge{Way::kTruncated, {"127.0.0.1"}};
  for (int i = 0; i < 400; ++i) big.v4.push_back(fmt::format("127.1.{}.{}", i / 250, i % 250 + 1));
  for (int i = 0; i < 4000; ++i)
    huge.v4.push_back(fmt::format("127.1.{}.{}", i / 250, i % 250 + 1));  // 64 kB
  serve({{"ok.test", {Way::kAnswer, {"127.0.0.1"}}},
         {"never.test", {Way::kNever}},
         {"id.test", {Way::kWrongIdFirst, {"127.0.0.1"}}},
         {"garbage.test", {Way::kGarbage, {"127.0.0.1"}}},
         {"cut.test", {Way::kCut, {"127.0.0.1"}}},
         {"loop.test", {Way::kLoop}},
         {"nodata.test", {}},
         {"big.test", big},
         {"huge.test", huge},
         {"tcp-never.test", {Way::kTruncatedNever}},
         {"fails.test", {Way::kFails}}},
        50, 2);
  Target target("127.0.0.1");
  const std::string ok = fmt::format("ok 127.0.0.1:{}", target.port());
  const auto lookup = [&](const char* name, const char* why) {
    return fmt::format("dial tcp: lookup {} on {}: {}", name, dns_->address(), why);
  };
  EXPECT_EQ(dial("ok.test", target.port()), ok);
  EXPECT_EQ(dial("id.test", target.port()), ok);
  EXPECT_EQ(dial("nohost.test", 1), lookup("nohost.test", "no such host"));
  EXPECT_EQ(code_, Code::kNotFound);
  EXPECT_EQ(dial("nodata.test", 1), lookup("nodata.test", "no such host"));
  EXPECT_EQ(dial("loop.test", 1), lookup("loop.test", "no such host"));
  EXPECT_EQ(dial("fails.test", 1), lookup("fails.test", "server misbehaving"));
  EXPECT_EQ(code_, Code::kIo);
  EXPECT_EQ(dial("never.test", 1), lookup("never.test", "i/o timeout"));
  for (const char* name : {"garbage.test", "cut.test"}) {
    const std::string said = dial(name, 1);
    EXPECT_TRUE(said == lookup(name, "server misbehaving") || said == lookup(name, "i/o timeout")) << said;
  }
  EXPECT_EQ(dns_->asked_over_tcp(), 0);
  EXPECT_EQ(dial("big.test", target.port()), ok);
  EXPECT_GT(dns_->asked_over_tcp(), 0);
  // What would hold the loop up is not even looked at.
  EXPECT_EQ(dial("huge.test", target.port()), lookup("huge.test", "server misbehaving"));
  EXPECT_EQ(dial("tcp-never.test", 1), lookup("tcp-never.test", "i/o timeout"));
  EXPECT_EQ(dial(std::string(300, 'x'), 1), lookup(std::string(300, 'x').c_str(), "no such host"));
}

TEST_F(Dialling, TheTimeLimitCoversTheLookUp) {
  serve({{"never.test", {Way::kNever}}});
  EXPECT_EQ(dial("never.test", 1, {.timeout_ns = 100 * io::kMillisecond}),
            "dial tcp: lookup never.test: i/o timeout");
  EXPECT_EQ(code_, Code::kContextDeadlineExceeded);
}

TEST_F(Dialling, TheNextAddressIsTakenWhenOneRefuses) {
  serve({{"two.test", {Way::kAnswer, {"127.0.0.2", "127.0.0.1"}}},
         {"families.test", {Way::kAnswer, {"127.0.0.1"}, {"::1"}}},
         {"none.test", {Way::kAnswer, {"127.0.0.2", "127.0.0.3"}, {"::1"}}}});
  Target target("127.0.0.1");
  const std::string ok = fmt::format("ok 127.0.0.1:{}", target.port());
  EXPECT_EQ(dial("two.test", target.port()), ok);
  EXPECT_EQ(dial("families.test", target.port()), ok);
  const std::string none = dial("none.test", target.port(), {.timeout_ns = 10 * io::kSecond});
  EXPECT_TRUE(none.ends_with(fmt::format(":{}: connect: connection refused", target.port()))) << none;
}

TEST_F(Dialling, TheOtherFamilyBeginsWhenOneHangs) {
  serve({{"families.test", {Way::kAnswer, {"127.0.0.1"}, {"::1"}}}});
  Target target("127.0.0.1");
  Target hangs("::1", target.port(), true);
  EXPECT_EQ(dial("families.test", target.port()), fmt::format("ok 127.0.0.1:{}", target.port()));
}

// Of 4 s the first of two addresses has 2.
TEST_F(Dialling, AnAddressThatHangsHasItsShareOfTheTime) {
  serve({{"two.test", {Way::kAnswer, {"127.0.0.2", "127.0.0.1"}}}});
  Target target("127.0.0.1");
  Target hangs("127.0.0.2", target.port(), true);
  EXPECT_EQ(dial("two.test", target.port(), {.timeout_ns = 4 * io::kSecond}),
            fmt::format("ok 127.0.0.1:{}", target.port()));
}

// At each step an attempt may be in, dropped on its loop and elsewhere: nobody is told, and nothing is left open.
TEST_F(Dialling, ADroppedAttemptIsNeverTold) {
  serve({{"never.test", {Way::kNever}},
         {"tcp-never.test", {Way::kTruncatedNever}},
         {"hangs.test", {Way::kAnswer, {"127.0.0.2", "127.0.0.1"}, {"::1"}}},
         {"ok.test", {Way::kAnswer, {"127.0.0.1"}}}},
        50, 100);
  Target target("127.0.0.1");
  Target hangs("127.0.0.2", 0, true), too("::1", hangs.port(), true);
  const io::ConnectOptions limit{.timeout_ns = 30 * io::kSecond};
  struct Step {
    const char* host;
    uint16_t port;
    int rounds;  // of the loop, after the server was asked
  };
  for (const Step& step : {Step{"127.0.0.1", target.port(), -1}, Step{"never.test", 1, -1},
                           Step{"never.test", 1, 2}, Step{"tcp-never.test", 1, 20},
                           Step{"hangs.test", hangs.port(), 20}, Step{"127.0.0.2", hangs.port(), 2}}) {
    for (const bool on_loop : {true, false}) {
      const int asked = dns_->asked();
      auto told = start(step.host, step.port, limit);
      const bool name = std::string_view(step.host).ends_with(".test");
      while (step.rounds >= 0 && name && dns_->asked() == asked) run_on_loop([] {});
      for (int i = 0; i < step.rounds; ++i) run_on_loop([] {});
      if (on_loop) {
        int before = 0;
        run_on_loop([&] {
          before = told->times;
          told->attempt.reset();
        });
        run_on_loop([] {});
        EXPECT_EQ(told->times, before) << step.host;
      } else {
        told->attempt.reset();
        for (int i = 0; i < 3; ++i) run_on_loop([] {});
      }
      EXPECT_TRUE(step.rounds < 0 || told->times == 0) << step.host;
      for (int i = 0; i < 3; ++i) run_on_loop([] {});
    }
  }
  // Somewhere between the connection and its telling.
  for (int spins = 0; spins < 200; ++spins) {
    auto told = start(spins % 2 ? "ok.test" : "127.0.0.1", target.port(), limit);
    for (int i = 0; i < spins / 10; ++i) run_on_loop([] {});
    int before = 0;
    run_on_loop([&] {
      before = told->times;
      told->attempt.reset();
    });
    for (int i = 0; i < 2; ++i) run_on_loop([] {});
    EXPECT_EQ(told->times, before);
    (void)target.accepted();
  }
}

TEST_F(Dialling, TheAttemptMayBeDroppedByWhoIsTold) {
  Target target("127.0.0.1");
  std::promise<void> done;
  std::unique_ptr<io::Connecting> attempt;
  run_on_loop([&] {
    attempt = network_->connect({false, "127.0.0.1", target.port()}, {}, loop_,
                                [&](Result<std::unique_ptr<io::Stream>> r) {
                                  EXPECT_TRUE(r);
                                  attempt.reset();
                                  done.set_value();
                                });
  });
  done.get_future().wait();
}

TEST_F(Dialling, ASocketThatIsItsOwnPeerIsSeen) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto a = *numeric_address("127.0.0.1", 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&a.address), a.length), 0);
  socklen_t n = sizeof a.address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&a.address), &n);
  ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&a.address), a.length), 0);
  EXPECT_TRUE(connected_to_itself(fd));
  close(fd);
}

TEST(AddressOrder, FollowsTheRfc) {
  const auto rank = [](const char* to, const char* from) {
    const auto a = *numeric_address(to, 0);
    const auto b = from != nullptr ? numeric_address(from, 0) : std::nullopt;
    return address_rank(a.address, b ? &b->address : nullptr);
  };
  // RFC 6724 10.2, and what a machine without IPv6 must not try first.
  EXPECT_GT(rank("2001:db8:1::1", "2001:db8:1::2"), rank("198.51.100.121", "169.254.13.78"));
  EXPECT_GT(rank("198.51.100.121", "198.51.100.117"), rank("2001:db8:1::1", "fe80::1"));
  EXPECT_GT(rank("2001:db8:1::1", "2001:db8:1::2"), rank("10.1.2.3", "10.1.2.4"));
  EXPECT_GT(rank("fe80::1", "fe80::2"), rank("2001:db8:1::1", "2001:db8:1::2"));
  EXPECT_GT(rank("10.1.2.3", "10.1.2.4"), rank("2001:db8::1", nullptr));
  EXPECT_GT(rank("10.1.2.3", "10.1.2.4"), rank("fd00::1", "fd00::2"));
  EXPECT_GT(rank("::1", "::1"), rank("127.0.0.1", "127.0.0.1"));
  EXPECT_EQ(rank("10.1.2.3", "10.1.2.4"), rank("10.1.2.5", "10.1.2.4"));
}

TEST_F(Dialling, TheStartLooksUpAndWaits) {
  serve({{"_etcd-server._tcp.example.test",
          {Way::kAnswer,
           {},
           {},
           {"20 1 2380 c.example.test", "10 1 2380 a.example.test", "10 5 12380 b.example.test"}}},
         {"a.example.test", {Way::kAnswer, {"10.0.0.1", "10.0.0.2"}, {"fd00::1"}}},
         {"fails.test", {Way::kFails}},
         {"never.test", {Way::kNever}}});
  DnsResolver resolver({dns_->address(), 0, 1});
  const auto srv = resolver.lookup_srv("_etcd-server._tcp.example.test", 10 * io::kSecond);
  ASSERT_TRUE(srv) << srv.error().text();
  std::string text;
  for (const auto& r : *srv) text += fmt::format("{} {} {} {}\n", r.priority, r.weight, r.port, r.target);
  EXPECT_EQ(text, "10 5 12380 b.example.test.\n10 1 2380 a.example.test.\n20 1 2380 c.example.test.\n");
  const auto none = resolver.lookup_srv("_etcd-server-ssl._tcp.example.test", 10 * io::kSecond);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().text(),
            fmt::format("lookup _etcd-server-ssl._tcp.example.test on {}: no such host", dns_->address()));
  EXPECT_EQ(none.error().code(), Code::kNotFound);

  auto host = resolver.lookup_host("a.example.test", 10 * io::kSecond);
  ASSERT_TRUE(host) << host.error().text();
  std::sort(host->begin(), host->end());
  EXPECT_EQ(*host, (std::vector<std::string>{"10.0.0.1", "10.0.0.2", "fd00::1"}));
  EXPECT_TRUE(resolver.lookup_host("a.example.test.", 10 * io::kSecond)) << "as SRV records name it";
  EXPECT_EQ(resolver.lookup_host("10.1.2.3", 1).value(), std::vector<std::string>{"10.1.2.3"});
  EXPECT_EQ(resolver.lookup_host("fd00::0:1", 1).value(), std::vector<std::string>{"fd00::1"});
  EXPECT_EQ(resolver.lookup_host("fails.test", 10 * io::kSecond).error().text(),
            fmt::format("lookup fails.test on {}: server misbehaving", dns_->address()));
  const auto never = resolver.lookup_host("never.test", 100 * io::kMillisecond);
  EXPECT_EQ(never.error().text(), fmt::format("lookup never.test on {}: i/o timeout", dns_->address()));
  EXPECT_EQ(never.error().code(), Code::kContextDeadlineExceeded);
  EXPECT_EQ(resolver.lookup_srv("never.test", 100 * io::kMillisecond).error().code(),
            Code::kContextDeadlineExceeded);
  const auto local = resolver.lookup_host("localhost", 10 * io::kSecond);
  ASSERT_TRUE(local);
  EXPECT_NE(std::find(local->begin(), local->end(), "127.0.0.1"), local->end());
}

}  // namespace
}  // namespace quoin::posix
