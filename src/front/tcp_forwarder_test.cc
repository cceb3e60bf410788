// The forwarder between a simulated client and simulated backends, and the choice of a backend.
#include "front/tcp_forwarder.h"

#include <gtest/gtest.h>

#include <map>

#include "sim/log_sink.h"
#include "sim/network.h"
#include "sim/world.h"

namespace quoin::front {
namespace {

// ---- which backend ----

Backend backend(std::string host, uint16_t priority = 0, uint16_t weight = 0) {
  return {std::move(host), 2379, priority, weight};
}

std::map<std::string, int> pick_often(BackendChoice& choice, int times) {
  std::map<std::string, int> out;
  for (int i = 0; i < times; ++i) {
    const auto picked = choice.pick();
    ++out[picked ? choice.backends()[*picked].host : "none"];
  }
  return out;
}

TEST(BackendChoice, WithoutWeightsInTurnOverTheActive) {
  BackendChoice choice({backend("a"), backend("b"), backend("c")}, 1);
  EXPECT_EQ(pick_often(choice, 9), (std::map<std::string, int>{{"a", 3}, {"b", 3}, {"c", 3}}));
  choice.set_active(1, false);
  EXPECT_EQ(pick_often(choice, 10).count("b"), 0u);
  choice.set_active(0, false);
  choice.set_active(2, false);
  EXPECT_EQ(choice.pick(), std::nullopt);
  choice.set_active(1, true);
  EXPECT_EQ(pick_often(choice, 4), (std::map<std::string, int>{{"b", 4}}));
}

TEST(BackendChoice, EachByItsWeight) {
  BackendChoice choice({backend("a", 0, 10), backend("b", 0, 30), backend("c", 0, 60)}, 2);
  const auto n = pick_often(choice, 10'000);
  EXPECT_NEAR(n.at("a"), 1000, 150);
  EXPECT_NEAR(n.at("b"), 3000, 250);
  EXPECT_NEAR(n.at("c"), 6000, 250);
}

TEST(BackendChoice, WithoutWeightBesideSomeWithAreRare) {
  BackendChoice choice({backend("a", 0, 1), backend("b", 0, 0)}, 3);
  EXPECT_NEAR(pick_often(choice, 10'000).at("b"), 100, 50);
}

TEST(BackendChoice, TheLowestPriorityThatIsActive) {
  for (const uint16_t weight : {0, 5}) {
    BackendChoice choice(
        {backend("far", 20, weight), backend("near", 10, weight), backend("last", 65535, weight)}, 4);
    EXPECT_EQ(pick_often(choice, 20), (std::map<std::string, int>{{"near", 20}}));
    choice.set_active(1, false);
    EXPECT_EQ(pick_often(choice, 20), (std::map<std::string, int>{{"far", 20}}));
    choice.set_active(0, false);
    EXPECT_EQ(pick_often(choice, 20), (std::map<std::string, int>{{"last", 20}}));
  }
}

TEST(Backend, AddressAsGoJoinsIt) {
  EXPECT_EQ((Backend{"h.example.", 1, 0, 0}.address()), "h.example.:1");
  EXPECT_EQ((Backend{"::1", 2379, 0, 0}.address()), "[::1]:2379");
}

// ---- the forwarder ----

struct Peer final : io::StreamHandler {
  std::unique_ptr<io::Stream> stream;
  std::string got, closed;
  bool eof = false, echo = false;
  void take(std::unique_ptr<io::Stream> s) {
    stream = std::move(s);
    stream->set_handler(this);
  }
  bool ended() const { return eof || !closed.empty(); }
  void on_data(std::string_view bytes) override {
    got += bytes;
    if (echo) stream->write(std::string(bytes));
  }
  void on_eof() override { eof = true; }
  void on_drained() override {}
  void on_closed(Result<> error) override { closed = error ? "ok" : std::string(error.error().text()); }
};

constexpr uint16_t kPort = 2379;
constexpr int64_t kRetryNs = 10 * io::kSecond;

struct Server {
  Server(sim::World& world, sim::SimNetwork& network, const std::string& name)
      : host(network, name), process(world.start_process(name)), loop(process.executor("loop")) {}
  void up(bool echo = true) {
    auto l = host.listen({false, "", kPort}, {&loop}, [this, echo](std::unique_ptr<io::Stream> s) {
      peers.push_back(std::make_unique<Peer>());
      peers.back()->echo = echo;
      if (paused) s->pause_reading();
      peers.back()->take(std::move(s));
    });
    ASSERT_TRUE(l.has_value());
    listener = std::move(*l);
  }
  void down() {
    listener.reset();
    for (const auto& p : peers) p->stream->close();
  }
  sim::SimHost host;
  sim::Process& process;
  sim::SimExecutor& loop;
  std::unique_ptr<io::Listener> listener;
  std::vector<std::unique_ptr<Peer>> peers;
  bool paused = false;  // connections that come are not read
};

struct Rig {
  explicit Rig(uint64_t seed, std::vector<Backend> backends = {backend("a")})
      : world(seed), network(world), host(network, "gateway"), client(network, "client") {
    process = &world.start_process("gateway");
    loop = &process->executor("loop");
    client_loop = &world.start_process("client").executor("loop");
    for (const Backend& b : backends)
      servers.emplace(b.host, std::make_unique<Server>(world, network, b.host));
    forwarder = std::make_unique<TcpForwarder>(TcpForwarder::Options{std::move(backends), kRetryNs, seed},
                                               *loop, host, process->timers(), log);
    auto l = host.listen({false, "", 23790}, {loop},
                         [this](std::unique_ptr<io::Stream> s) { forwarder->accepted(std::move(s)); });
    listener = std::move(*l);
    loop->post([this] { forwarder->start(); });
    world.run_for(io::kMillisecond);
  }
  ~Rig() {
    listener.reset();
    forwarder.reset();
  }
  Peer& connect() {
    clients.push_back(std::make_unique<Peer>());
    Peer& p = *clients.back();
    attempts.push_back(
        client.connect({false, "gateway", 23790}, {}, *client_loop,
                       [&p](Result<std::unique_ptr<io::Stream>> r) { p.take(std::move(*r)); }));
    EXPECT_TRUE(until([&] { return p.stream != nullptr; }));
    return p;
  }
  bool until(absl::FunctionRef<bool()> done) { return world.run_until(done, 60 * io::kSecond); }
  Server& server(const std::string& name) { return *servers.at(name); }

  sim::World world;
  sim::SimNetwork network;
  sim::LogSink log;
  sim::SimHost host, client;
  sim::Process* process;
  sim::SimExecutor *loop, *client_loop;
  std::map<std::string, std::unique_ptr<Server>> servers;
  std::unique_ptr<TcpForwarder> forwarder;
  std::unique_ptr<io::Listener> listener;
  std::vector<std::unique_ptr<io::Connecting>> attempts;
  std::vector<std::unique_ptr<Peer>> clients;
};

TEST(TcpForwarder, CarriesBothWays) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Rig rig(seed);
    rig.server("a").up();
    Peer& c = rig.connect();
    std::string sent;
    for (int i = 0; i < 100; ++i) {
      const std::string piece = fmt::format("{}:{};", i, std::string(static_cast<size_t>(i) * 50, 'x'));
      c.stream->write(piece);
      sent += piece;
    }
    ASSERT_TRUE(rig.until([&] { return c.got.size() == sent.size(); })) << seed;
    EXPECT_EQ(c.got, sent);
    EXPECT_EQ(rig.forwarder->connections(), 1u);
    EXPECT_TRUE(rig.log.contains("info ready to proxy client requests"));
  }
}

TEST(TcpForwarder, AClientsEndComesBehindItsBytesAndEndsBoth) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Rig rig(seed);
    rig.network.options().window_bytes = 8 << 10;
    rig.server("a").up(false);
    Peer& c = rig.connect();
    c.stream->write(std::string(300'000, 'x'));
    c.stream->shutdown();
    ASSERT_TRUE(rig.until([&] { return c.ended() && rig.server("a").peers.at(0)->ended(); })) << seed;
    EXPECT_EQ(rig.server("a").peers[0]->got.size(), 300'000u);
    EXPECT_TRUE(rig.server("a").peers[0]->eof);
    ASSERT_TRUE(rig.until([&] { return rig.forwarder->connections() == 0; }));
  }
}

TEST(TcpForwarder, ABackendsEndComesBehindItsBytesAndEndsBoth) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Rig rig(seed);
    rig.network.options().window_bytes = 8 << 10;
    rig.server("a").up(false);
    Peer& c = rig.connect();
    ASSERT_TRUE(rig.until([&] { return rig.server("a").peers.size() == 1; }));
    Peer& s = *rig.server("a").peers[0];
    s.stream->write(std::string(300'000, 'y'));
    s.stream->shutdown();
    ASSERT_TRUE(rig.until([&] { return c.ended() && s.ended(); })) << seed;
    EXPECT_EQ(c.got.size(), 300'000u);
    EXPECT_TRUE(c.eof);
    ASSERT_TRUE(rig.until([&] { return rig.forwarder->connections() == 0; }));
  }
}

TEST(TcpForwarder, AResetOfOneSideEndsTheOther) {
  Rig rig(5, {backend("a")});
  rig.server("a").up();
  Peer& first = rig.connect();
  Peer& second = rig.connect();
  ASSERT_TRUE(rig.until([&] { return rig.server("a").peers.size() == 2; }));
  rig.network.reset_all("gateway", "a");
  ASSERT_TRUE(rig.until([&] { return first.ended() && second.ended(); }));
  Peer& third = rig.connect();
  third.stream->write("x");
  ASSERT_TRUE(rig.until([&] { return third.got == "x"; }));
  rig.network.reset_all("client", "gateway");
  ASSERT_TRUE(rig.until([&] { return rig.server("a").peers[2]->ended(); }));
  ASSERT_TRUE(rig.until([&] { return rig.forwarder->connections() == 0; }));
}

// Neither side reads: the forwarder holds no more than its bound of each direction, and all arrives in the end.
TEST(TcpForwarder, WhoDoesNotReadHoldsTheSenderBack) {
  Rig rig(6);
  rig.network.options().window_bytes = 32 << 10;
  constexpr size_t kBytes = 2 << 20;
  rig.server("a").paused = true;
  rig.server("a").up(false);
  Peer& c = rig.connect();
  c.stream->pause_reading();
  ASSERT_TRUE(rig.until([&] { return rig.server("a").peers.size() == 1; }));
  Peer& s = *rig.server("a").peers[0];
  c.stream->write(std::string(kBytes, 'x'));
  s.stream->write(std::string(kBytes, 'y'));
  size_t most = 0;
  for (int i = 0; i < 200; ++i) {
    rig.world.run_for(io::kMillisecond);
    most = std::max(most, rig.forwarder->held_bytes());
  }
  EXPECT_GE(most, 2 * TcpForwarder::kHeldBytesPause);
  EXPECT_LE(most, 2 * TcpForwarder::kHeldBytesMax);
  EXPECT_GT(c.stream->queued_bytes(), kBytes / 2);
  s.stream->resume_reading();
  ASSERT_TRUE(rig.until([&] { return s.got.size() == kBytes; }))
      << "one direction does not wait for the other";
  c.stream->resume_reading();
  ASSERT_TRUE(rig.until([&] { return c.got.size() == kBytes; }));
  EXPECT_EQ(rig.forwarder->held_bytes(), 0u);
}

TEST(TcpForwarder, ADeadBackendIsLeftOutUntilItAnswersAgain) {
  Rig rig(7, {backend("a"), backend("b")});
  rig.server("a").up();
  for (int i = 0; i < 4; ++i) {
    Peer& c = rig.connect();
    c.stream->write("x");
    ASSERT_TRUE(rig.until([&] { return c.got == "x"; }));
  }
  EXPECT_EQ(rig.server("a").peers.size(), 4u);
  ASSERT_EQ(rig.log.count("warn deactivated endpoint address=b:2379 interval=10000000000ns error=dial tcp"),
            1u);
  rig.world.run_for(kRetryNs);
  EXPECT_EQ(
      rig.log.count("warn failed to activate endpoint (stay inactive for another interval) address=b:2379"),
      1u);
  rig.server("b").up();
  rig.world.run_for(kRetryNs);
  EXPECT_EQ(rig.log.count("info activated address=b:2379"), 1u);
  const size_t before = rig.server("b").peers.size();
  for (int i = 0; i < 4; ++i) rig.connect();
  ASSERT_TRUE(rig.until([&] { return rig.server("b").peers.size() == before + 2; }));
  rig.world.run_for(3 * kRetryNs);
  EXPECT_EQ(rig.log.count("activate"), 3u) << "active ones are left alone";
}

TEST(TcpForwarder, WithoutAnActiveBackendClientsAreClosed) {
  Rig rig(8, {backend("a"), backend("b")});
  Peer& c = rig.connect();
  ASSERT_TRUE(rig.until([&] { return c.ended(); }));
  EXPECT_EQ(rig.log.count("deactivated endpoint"), 2u);
  EXPECT_EQ(rig.forwarder->connections(), 0u);
  Peer& later = rig.connect();
  ASSERT_TRUE(rig.until([&] { return later.ended(); }));
  EXPECT_EQ(rig.log.count("deactivated endpoint"), 2u) << "an inactive one is not dialled for a client";
}

TEST(TcpForwarder, ABackendThatDiesTakesItsConnectionsAlone) {
  Rig rig(9, {backend("a"), backend("b")});
  rig.server("a").up();
  rig.server("b").up();
  for (int i = 0; i < 10; ++i) rig.connect();
  ASSERT_TRUE(rig.until([&] { return rig.server("a").peers.size() + rig.server("b").peers.size() == 10; }));
  rig.server("a").down();
  const auto ended = [&] {
    return std::count_if(rig.clients.begin(), rig.clients.end(), [](auto& c) { return c->ended(); });
  };
  ASSERT_TRUE(rig.until([&] { return ended() == 5; }));
  EXPECT_EQ(rig.forwarder->connections(), 5u);
}

// Links that fail at random moments, in every phase: nothing is left over, and what arrived is a beginning of what was
// sent.
TEST(TcpForwarder, UnderRandomFaultsNothingIsLeftOver) {
  for (uint64_t seed = 1; seed <= 15; ++seed) {
    Rig rig(seed, {backend("a"), backend("b")});
    rig.network.options().window_bytes = 16 << 10;
    rig.network.options().resets_per_million = 20'000;
    rig.server("a").up();
    rig.server("b").up();
    for (int i = 0; i < 20; ++i) {
      Peer& c = rig.connect();
      std::string text;
      while (text.size() < 20'000) text += fmt::format("{} ", rig.world.prng().below(1000));
      c.stream->write(text);
      if (rig.world.prng().chance(1, 2)) c.stream->shutdown();
      rig.world.run_for(static_cast<int64_t>(rig.world.prng().below(3)) * io::kMillisecond);
      if (rig.world.prng().chance(1, 4)) c.stream->close();
      ASSERT_TRUE(text.starts_with(c.got));
    }
    rig.world.run_for(io::kSecond);
    for (const auto& c : rig.clients) c->stream->close();
    ASSERT_TRUE(rig.until([&] { return rig.forwarder->connections() == 0; })) << "seed " << seed;
  }
}

}  // namespace
}  // namespace quoin::front
