// Each promise of network.h, by name.
#include "sim/network.h"

#include <gtest/gtest.h>

#include <string>

#include "base/check.h"

namespace quoin::sim {
namespace {

struct Peer final : io::StreamHandler {
  std::unique_ptr<io::Stream> stream;
  std::string got;
  int pieces = 0, drained = 0;
  bool eof = false, echo = false;
  std::string closed;  // "ok" or the error's text

  void take(std::unique_ptr<io::Stream> s) {
    stream = std::move(s);
    stream->set_handler(this);
  }
  void on_data(std::string_view bytes) override {
    EXPECT_TRUE(stream->loop().running_here());
    got += bytes;
    ++pieces;
    if (echo) stream->write(std::string(bytes));
  }
  void on_eof() override { eof = true; }
  void on_drained() override { ++drained; }
  void on_closed(Result<> error) override { closed = error ? "ok" : std::string(error.error().text()); }
};

struct Net {
  explicit Net(uint64_t seed) : world(seed), network(world), a(network, "a"), b(network, "b") {
    pa = &world.start_process("a");
    pb = &world.start_process("b");
    la = &pa->executor("loop");
    lb = &pb->executor("loop");
  }
  ~Net() {
    pa->kill();
    pb->kill();
  }
  // A stream from a (client) to b (server).
  void connect() {
    auto l =
        b.listen({false, "", 0}, {lb}, [this](std::unique_ptr<io::Stream> s) { server.take(std::move(s)); });
    CHECK(l.has_value());
    listener = std::move(*l);
    std::string error;
    dial(a, {false, "b", listener->port()}, *la, [&](Result<std::unique_ptr<io::Stream>> r) {
      if (r) {
        client.take(std::move(*r));
      } else {
        error = r.error().text();
      }
    });
    CHECK(world.run_until([&] { return client.stream && server.stream; }, io::kSecond), "{}", error);
  }
  // Kept to the end of the test.
  io::Connecting* dial(SimHost& from, const io::ListenAddress& to, io::Loop& loop,
                       absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> done,
                       const io::ConnectOptions& options = {}) {
    attempts.push_back(from.connect(to, options, loop, std::move(done)));
    return attempts.back().get();
  }
  bool until(absl::FunctionRef<bool()> done) { return world.run_until(done, 10 * io::kSecond); }

  World world;
  SimNetwork network;
  SimHost a, b;
  Process *pa, *pb;
  SimExecutor *la, *lb;
  std::unique_ptr<io::Listener> listener;
  std::vector<std::unique_ptr<io::Connecting>> attempts;
  Peer client, server;
};

TEST(SimNetwork, BytesArriveInOrderAndInPieces) {
  Net n(1);
  n.connect();
  n.server.echo = true;
  std::string sent;
  for (int i = 0; i < 50; ++i) {
    const std::string bytes = fmt::format("{}:{};", i, std::string(static_cast<size_t>(i) * 100, 'x'));
    sent += bytes;
    if (i % 2) {
      n.client.stream->write(bytes);
    } else {
      n.client.stream->write(Blob::copy(bytes));
    }
  }
  EXPECT_EQ(n.client.got, "");
  ASSERT_TRUE(n.until([&] { return n.client.got.size() == sent.size(); }));
  EXPECT_EQ(n.client.got, sent);
  EXPECT_GT(n.server.pieces, 50);
  EXPECT_GT(n.client.drained, 0);
  EXPECT_EQ(n.client.stream->peer_address(), fmt::format("b:{}", n.listener->port()));
  EXPECT_EQ(n.server.stream->peer_address(), n.client.stream->local_address());
}

TEST(SimNetwork, WhatIsNotReadHoldsTheSenderBack) {
  Net n(2);
  n.network.options().window_bytes = 10'000;
  n.connect();
  n.server.stream->pause_reading();
  n.client.stream->write(std::string(50'000, 'x'));
  n.world.run_for(io::kSecond);
  EXPECT_EQ(n.server.got.size(), 0u);
  EXPECT_EQ(n.client.stream->queued_bytes(), 40'000u);
  EXPECT_EQ(n.client.drained, 0);
  n.server.stream->resume_reading();
  ASSERT_TRUE(n.until([&] { return n.server.got.size() == 50'000; }));
  EXPECT_EQ(n.client.stream->queued_bytes(), 0u);
  EXPECT_EQ(n.client.drained, 1);
}

TEST(SimNetwork, ShutdownEndsOneDirectionAndCloseBoth) {
  Net n(3);
  n.connect();
  n.client.stream->write("last words");
  n.client.stream->shutdown();
  ASSERT_TRUE(n.until([&] { return n.server.eof; }));
  EXPECT_EQ(n.server.got, "last words");
  n.server.stream->write("answer");
  ASSERT_TRUE(n.until([&] { return n.client.got == "answer"; }));
  n.server.stream->close();
  EXPECT_EQ(n.server.closed, "") << "as a task of its own";
  ASSERT_TRUE(n.until([&] { return n.client.eof && n.server.closed == "ok"; }));
  n.client.stream->close();
  ASSERT_TRUE(n.until([&] { return n.client.closed == "ok"; }));
}

TEST(SimNetwork, ClosingWithBytesUnreadResetsTheOtherEnd) {
  Net n(4);
  n.connect();
  n.server.stream->pause_reading();
  n.client.stream->write("unread");
  n.world.run_for(io::kSecond);
  n.server.stream.reset();
  ASSERT_TRUE(n.until([&] { return !n.client.closed.empty(); }));
  EXPECT_NE(n.client.closed.find("connection reset by peer"), std::string::npos);
  EXPECT_EQ(n.server.closed, "") << "no callback after destruction";
}

TEST(SimNetwork, ACutLinkHoldsBytesBackUntilItHeals) {
  Net n(5);
  n.connect();
  n.network.set_cut("a", "b", true);
  n.client.stream->write("there");
  n.server.stream->write("back");
  ASSERT_TRUE(n.until([&] { return n.client.got == "back"; })) << "one direction alone";
  n.world.run_for(10 * io::kSecond);
  EXPECT_EQ(n.server.got, "");
  std::string error;
  n.dial(n.a, {false, "b", n.listener->port()}, *n.la,
         [&](Result<std::unique_ptr<io::Stream>> r) { error = r ? "ok" : std::string(r.error().text()); });
  ASSERT_TRUE(n.until([&] { return !error.empty(); }));
  EXPECT_EQ(error, fmt::format("dial tcp b:{}: connect: connection timed out", n.listener->port()));
  n.client.stream->write(" again");
  n.network.heal_all();
  ASSERT_TRUE(n.until([&] { return n.server.got == "there again"; }));
}

TEST(SimNetwork, ConnectingEndsAtItsDeadline) {
  Net n(11);
  n.connect();
  n.network.partition("a", "b");
  std::string error;
  const auto begin = n.world.now();
  n.dial(n.a, {false, "b", n.listener->port()}, *n.la,
         [&](Result<std::unique_ptr<io::Stream>> r) { error = r ? "ok" : std::string(r.error().text()); },
         {.timeout_ns = io::kSecond});
  ASSERT_TRUE(n.until([&] { return !error.empty(); }));
  EXPECT_EQ(error, fmt::format("dial tcp b:{}: i/o timeout", n.listener->port()));
  EXPECT_LT(n.world.now() - begin, 2 * io::kSecond);
  n.world.run_for(10 * io::kSecond);  // the system's own time-out tells nobody any more
}

// At whatever moment the attempt is dropped: nobody hears of it, and the accepted end ends.
TEST(SimNetwork, DroppedAttemptsAreNeverTold) {
  for (int64_t at = 0; at <= 1000; at += 50) {
    Net n(12);
    int accepted = 0, told = 0;
    std::vector<Peer> servers(1);
    auto l = n.b.listen({false, "", 0}, {n.lb}, [&](std::unique_ptr<io::Stream> s) {
      ++accepted;
      servers[0].take(std::move(s));
    });
    ASSERT_TRUE(l.has_value());
    auto attempt = n.a.connect({false, "b", (*l)->port()}, {.timeout_ns = io::kSecond}, *n.la,
                               [&](Result<std::unique_ptr<io::Stream>>) { ++told; });
    n.world.run_for(at * io::kMicrosecond);
    const int before = told;
    attempt.reset();
    n.world.run_for(5 * io::kSecond);
    EXPECT_EQ(told, before) << at;
    EXPECT_TRUE(accepted == 0 || servers[0].eof || !servers[0].closed.empty()) << at;
  }
}

TEST(SimNetwork, NamesAndOwnAddressesAreChecked) {
  Net n(13);
  n.connect();
  const auto dial = [&](const char* host, const char* from) {
    std::string error;
    n.dial(n.a, {false, host, n.listener->port()}, *n.la,
           [&](Result<std::unique_ptr<io::Stream>> r) { error = r ? "ok" : std::string(r.error().text()); },
           {.local_address = from});
    CHECK(n.until([&] { return !error.empty(); }));
    return error;
  };
  EXPECT_EQ(dial("nohost", ""), "dial tcp: lookup nohost on sim: no such host");
  EXPECT_EQ(dial("b", "a"), "ok");
  EXPECT_EQ(dial("b", "b"),
            fmt::format("dial tcp b:0->b:{}: bind: cannot assign requested address", n.listener->port()));
}

TEST(SimNetwork, NamesAreLookedUp) {
  Net n(14);
  n.network.set_srv("_etcd-server._tcp.sim", {{"b.", 2380, 0, 1}});
  const auto srv = n.a.lookup_srv("_etcd-server._tcp.sim", io::kSecond);
  ASSERT_TRUE(srv);
  EXPECT_EQ((*srv)[0].target, "b.");
  EXPECT_EQ(n.a.lookup_srv("_x._tcp.sim", io::kSecond).error().text(),
            "lookup _x._tcp.sim on sim: no such host");
  EXPECT_EQ(n.a.lookup_host("b", io::kSecond).value(), std::vector<std::string>{"b"});
  EXPECT_EQ(n.a.lookup_host("localhost", io::kSecond).value(), std::vector<std::string>{"a"});
  EXPECT_EQ(n.a.lookup_host("nohost", io::kSecond).error().code(), Code::kNotFound);
}

TEST(SimNetwork, ResetsEndBothEnds) {
  Net n(6);
  n.connect();
  n.network.reset_all("b", "a");
  ASSERT_TRUE(n.until([&] { return !n.client.closed.empty() && !n.server.closed.empty(); }));
  Net m(7);
  m.network.options().resets_per_million = 100'000;
  m.connect();
  m.server.echo = true;
  for (int i = 0; i < 1000 && m.client.closed.empty(); ++i) {
    m.client.stream->write("ping");
    m.world.run_for(10 * io::kMillisecond);
  }
  EXPECT_FALSE(m.client.closed.empty());
  EXPECT_FALSE(m.server.closed.empty());
}

TEST(SimNetwork, AStoppedProcessResetsOrIsSilent) {
  for (const bool silent : {false, true}) {
    Net n(8);
    n.connect();
    n.pb->kill();
    n.b.stop(silent);
    n.client.stream->write("hello?");
    n.world.run_for(5 * io::kSecond);
    EXPECT_EQ(n.client.closed.empty(), silent);
    std::string error;
    n.dial(n.a, {false, "b", n.listener->port()}, *n.la,
           [&](Result<std::unique_ptr<io::Stream>> r) { error = r ? "ok" : std::string(r.error().text()); });
    ASSERT_TRUE(n.until([&] { return !error.empty(); }));
    EXPECT_NE(error.find(silent ? "timed out" : "refused"), std::string::npos) << error;
    // The host comes back: bytes for a stream it does not know are answered with a reset.
    n.pb = &n.world.start_process("b");
    SimHost again(n.network, "b");
    auto l = again.listen({false, "0.0.0.0", n.listener->port()}, {&n.pb->executor("loop")},
                          [](std::unique_ptr<io::Stream>) {});
    ASSERT_TRUE(l.has_value());
    ASSERT_TRUE(n.until([&] { return !n.client.closed.empty(); }));
    EXPECT_EQ(n.server.closed, "");
  }
}

TEST(SimNetwork, ListeningHandsRoundAndRefusesTwice) {
  Net n(9);
  SimExecutor& second = n.pb->executor("second");
  std::map<io::Loop*, int> accepted;
  std::vector<std::unique_ptr<io::Stream>> streams;
  auto l = n.b.listen({false, "b", 2379}, {n.lb, &second}, [&](std::unique_ptr<io::Stream> s) {
    EXPECT_TRUE(s->loop().running_here());
    ++accepted[&s->loop()];
    streams.push_back(std::move(s));
  });
  ASSERT_TRUE(l.has_value());
  EXPECT_EQ((*l)->port(), 2379);
  EXPECT_EQ(n.b.listen({false, "", 2379}, {n.lb}, {}).error().text(), "bind :2379: address already in use");
  EXPECT_FALSE(n.b.listen({false, "a", 2379}, {n.lb}, {}).has_value());
  for (int i = 0; i < 4; ++i) {
    n.dial(n.a, {false, "b", 2379}, *n.la, [&](Result<std::unique_ptr<io::Stream>> r) {
      if (r) streams.push_back(std::move(*r));
    });
  }
  ASSERT_TRUE(n.until([&] { return streams.size() == 8; }));
  EXPECT_EQ(accepted[n.lb], 2);
  EXPECT_EQ(accepted[&second], 2);
  l->reset();
  std::string error;
  n.dial(n.a, {false, "b", 2379}, *n.la,
         [&](Result<std::unique_ptr<io::Stream>> r) { error = r ? "ok" : std::string(r.error().text()); });
  ASSERT_TRUE(n.until([&] { return !error.empty(); }));
  EXPECT_EQ(error, "dial tcp b:2379: connect: connection refused");
  streams.clear();
}

TEST(SimNetwork, UnixSocketsAndLoopbackStayOnTheHost) {
  Net n(10);
  std::unique_ptr<io::Stream> server, client;
  auto l =
      n.b.listen({true, "/run/s", 0}, {n.lb}, [&](std::unique_ptr<io::Stream> s) { server = std::move(s); });
  ASSERT_TRUE(l.has_value());
  std::string from_a;
  n.dial(n.a, {true, "/run/s", 0}, *n.la,
         [&](Result<std::unique_ptr<io::Stream>> r) { from_a = r ? "ok" : std::string(r.error().text()); });
  n.dial(n.b, {true, "/run/s", 0}, *n.lb, [&](Result<std::unique_ptr<io::Stream>> r) {
    ASSERT_TRUE(r.has_value());
    client = std::move(*r);
  });
  ASSERT_TRUE(n.until([&] { return server && client && !from_a.empty(); }));
  EXPECT_NE(from_a, "ok");
  EXPECT_EQ(server->peer_address(), "@");
  auto tcp = n.b.listen({false, "127.0.0.1", 7}, {n.lb},
                        [&](std::unique_ptr<io::Stream> s) { server = std::move(s); });
  client.reset();
  n.dial(n.b, {false, "localhost", 7}, *n.lb, [&](Result<std::unique_ptr<io::Stream>> r) {
    ASSERT_TRUE(r.has_value());
    client = std::move(*r);
  });
  ASSERT_TRUE(n.until([&] { return client != nullptr; }));
}

}  // namespace
}  // namespace quoin::sim
