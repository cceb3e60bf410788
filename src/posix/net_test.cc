// What a listener promises: io/stream.h, and Go's texts and addresses.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <thread>

#include "io/clock.h"
#include "posix/loop.h"

namespace quoin::posix {
namespace {

// A blocking TCP client.
int dial(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  return fd;
}

bool eventually(const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (std::chrono::steady_clock::now() < end) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return holds();
}

void run_on(UvLoop& loop, Task task) {
  std::promise<void> done;
  loop.post([&, task = std::move(task)]() mutable {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

// An object of its own: the loop calls it while the test's destructor is under way.
struct Streams final : io::StreamHandler {
  void on_data(std::string_view) override {
    if (read) read();
  }
  void on_eof() override { open.pop_back(); }
  void on_drained() override {}
  void on_closed(Result<>) override {}
  std::vector<std::unique_ptr<io::Stream>> open;  // on the loop
  std::function<void()> read;                     // on the loop
};

class Listeners : public testing::Test {
 protected:
  ~Listeners() override {
    run_on(loop_, [this] { streams_.open.clear(); });
    listener_.reset();
    loop_.stop();
  }
  void listen(io::ListenAddress address) {
    auto l = network_.listen(address, {&loop_}, [this](std::unique_ptr<io::Stream> s) {
      peer_ = s->peer_address();
      s->set_handler(&streams_);
      streams_.open.push_back(std::move(s));
      ++accepted_;
    });
    ASSERT_TRUE(l) << l.error().text();
    listener_ = std::move(*l);
  }

  Streams streams_;
  UvLoop loop_{"loop"};
  UvNetwork network_;
  std::unique_ptr<io::Listener> listener_;
  std::string peer_;
  std::atomic<int> accepted_{0};
};

// Many tasks, or ends of a round, that together take long: the loop looks at its sockets in between.
TEST_F(Listeners, ARoundOfManyTasksLetsBytesIn) {
  listen({.host = "127.0.0.1"});
  const int client = dial(listener_->port());
  ASSERT_TRUE(eventually([&] { return accepted_ == 1; }));
  for (const bool ends_of_round : {false, true}) {
    constexpr int kTasks = 50;
    int ran = 0, ran_before_bytes = -1;
    std::promise<void> done;
    const auto task = [&] {
      const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
      while (std::chrono::steady_clock::now() < end) {
      }
      if (++ran == kTasks) done.set_value();
    };
    run_on(loop_, [&] {
      streams_.read = [&] { ran_before_bytes = ran; };
      EXPECT_EQ(send(client, "x", 1, 0), 1);
      for (int i = 0; i < kTasks; ++i) {
        if (ends_of_round) {
          loop_.at_end_of_round(task);
        } else {
          loop_.post(task);
        }
      }
    });
    done.get_future().wait();
    run_on(loop_, [this] { streams_.read = nullptr; });
    EXPECT_GE(ran_before_bytes, 0);
    EXPECT_LT(ran_before_bytes, kTasks / 2);
  }
  close(client);
}

TEST_F(Listeners, NobodyIsAcceptedBeforeStart) {
  listen({.host = "127.0.0.1", .wait = true});
  const int client = dial(listener_->port());  // the system takes the connection
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  run_on(loop_, [] {});
  EXPECT_EQ(accepted_, 0);
  listener_->start();
  EXPECT_TRUE(eventually([&] { return accepted_ == 1; }));
  close(client);
}

// A network that fails for a minute must not end idle connections.
TEST_F(Listeners, KeepaliveIsGosAndTheUserTimeoutIsSetWhereAskedFor) {
  listen({.host = "127.0.0.1"});
  const int client = dial(listener_->port());
  ASSERT_TRUE(eventually([&] { return accepted_ == 1; }));
  run_on(loop_, [&] { streams_.open[0]->set_unacknowledged_timeout(20 * io::kSecond); });
  sockaddr_in own{};
  socklen_t n = sizeof own;
  getsockname(client, reinterpret_cast<sockaddr*>(&own), &n);
  int found = 0;
  for (int fd = 3; fd < 256; ++fd) {  // the server's end is the one whose peer is this client
    sockaddr_in peer{};
    n = sizeof peer;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &n) != 0 || peer.sin_port != own.sin_port)
      continue;
    ++found;
    const auto option = [fd](int level, int name) {
      int value = -1;
      socklen_t size = sizeof value;
      getsockopt(fd, level, name, &value, &size);
      return value;
    };
    EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
    EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPIDLE), 15);
    EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPINTVL), 15);
    EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPCNT), 9);
    EXPECT_EQ(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 20'000);
  }
  EXPECT_EQ(found, 1);
  close(client);
}

TEST_F(Listeners, WhatClientsDoNotReadIsCounted) {
  listen({.host = "127.0.0.1"});
  const int client = dial(listener_->port());
  ASSERT_TRUE(eventually([&] { return accepted_ == 1; }));
  EXPECT_EQ(queued_output_bytes(), 0u);
  size_t queued = 0, counted = 0;
  run_on(loop_, [&] {
    for (int i = 0; i < 64; ++i) streams_.open[0]->write(std::string(1 << 20, 'x'));
  });
  // In one task: the loop goes on writing.
  run_on(loop_, [&] {
    queued = streams_.open[0]->queued_bytes();
    counted = queued_output_bytes();
  });
  EXPECT_GT(queued, size_t{32 << 20});
  EXPECT_EQ(counted, queued);
  run_on(loop_, [&] { streams_.open.clear(); });
  EXPECT_EQ(queued_output_bytes(), 0u);
  close(client);
}

TEST_F(Listeners, ConnectionsBeyondTheBoundWaitForRoom) {
  listen({.host = "127.0.0.1", .connections_max = 2});
  int clients[4];
  for (int& c : clients) c = dial(listener_->port());
  EXPECT_TRUE(eventually([&] { return accepted_ == 2; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  run_on(loop_, [] {});
  EXPECT_EQ(accepted_, 2);
  close(clients[1]);  // on_eof drops the newest stream
  EXPECT_TRUE(eventually([&] { return accepted_ == 3; }));
  for (const int c : {clients[0], clients[2], clients[3]}) close(c);
  EXPECT_TRUE(eventually([&] { return accepted_ == 4; }));
}

// Without descriptors nobody can be accepted; the loop must neither spin nor forget who waits.
TEST_F(Listeners, AcceptsAgainAfterDescriptorsRanOut) {
  listen({.host = "127.0.0.1"});
  const int client = dial(listener_->port());
  ASSERT_TRUE(eventually([&] { return accepted_ == 1; }));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(late) + 1;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(listener_->port());
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(late, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  timespec cpu_before{}, cpu_after{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_before);
  std::this_thread::sleep_for(std::chrono::milliseconds(250));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_after);
  const int64_t used_ms =
      (cpu_after.tv_sec - cpu_before.tv_sec) * 1000 + (cpu_after.tv_nsec - cpu_before.tv_nsec) / 1'000'000;
  EXPECT_EQ(accepted_, 1);
  EXPECT_LT(used_ms, 100);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(eventually([&] { return accepted_ == 2; }));
  close(client);
  close(late);
}

TEST_F(Listeners, AllAddressesMeansBothFamiliesAndIsShownAsGoDoes) {
  listen({.host = "0.0.0.0"});
  const int probe = socket(AF_INET6, SOCK_STREAM, 0);
  if (probe >= 0) {
    EXPECT_EQ(listener_->address(), fmt::format("[::]:{}", listener_->port()));
    close(probe);
  } else {
    EXPECT_EQ(listener_->address(), fmt::format("0.0.0.0:{}", listener_->port()));
  }
  const int client = dial(listener_->port());
  ASSERT_TRUE(eventually([&] { return accepted_ == 1; }));
  run_on(loop_, [this] { EXPECT_EQ(peer_.rfind("127.0.0.1:", 0), 0U) << peer_; });
  close(client);
}

TEST_F(Listeners, LocalhostIsTheIpv4Loopback) {
  listen({.host = "localhost"});
  EXPECT_EQ(listener_->address(), fmt::format("127.0.0.1:{}", listener_->port()));
}

TEST_F(Listeners, APortIsSharedOnlyByThoseWhoAskForIt) {
  listen({.host = "127.0.0.1", .reuse_port = true});
  const io::ListenAddress same{.host = "127.0.0.1", .port = listener_->port(), .reuse_port = true};
  auto second = network_.listen(same, {&loop_}, [](std::unique_ptr<io::Stream>) {});
  EXPECT_TRUE(second);
  EXPECT_FALSE(network_.listen({.host = "127.0.0.1", .port = same.port}, {&loop_},
                               [](std::unique_ptr<io::Stream>) {}));
}

TEST_F(Listeners, AUnixSocketsFileGoesWithItsListenerEvenIfNeverStarted) {
  char name[] = "/tmp/quoin-net-XXXXXX";
  const std::string dir = mkdtemp(name);
  listen({.unix_socket = true, .host = dir + "/s", .wait = true});
  EXPECT_EQ(listener_->address(), dir + "/s");
  EXPECT_TRUE(std::filesystem::exists(dir + "/s"));
  listener_.reset();
  run_on(loop_, [] {});
  EXPECT_FALSE(std::filesystem::exists(dir + "/s"));
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace quoin::posix
