// What a handshake costs each side, by the server's kind of key, and what an idle connection holds.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <vector>

#include "tls/session.h"
#include "tls/tls_test_util.h"

namespace {
namespace tls = quoin::tls;
using tls::testing::Issued;

const char* const kKeys[] = {"P-256", "P-384", "P-521", "ED25519", "RSA-2048", "RSA-4096"};

struct Pair {
  Pair(const std::string& key, bool mutual) {
    const Issued ca = tls::testing::make_ca("ca", key == "P-256" ? key : "P-256");
    const Issued server = issue({.ips = {"127.0.0.1"}, .key = key}, &ca),
                 client = issue({.cn = "c", .key = key}, &ca);
    server_credentials =
        *tls::Credentials::load(files.side("s", server, mutual ? &ca : nullptr), tls::Role::kServer,
                                *files.fs, clock, std::make_shared<tls::TicketKeys>(clock));
    client_credentials =
        *tls::Credentials::load(files.side("c", client, &ca), tls::Role::kClient, *files.fs, clock, nullptr);
  }
  tls::testing::Files files;
  tls::testing::FakeClock clock;
  std::shared_ptr<const tls::Credentials> server_credentials, client_credentials;
};

// The server's part of a whole handshake: both steps, in one figure, and the longer one of the two.
void handshake(benchmark::State& state) {
  const std::string key = kKeys[state.range(0)];
  const bool mutual = state.range(1) != 0;
  Pair pair(key, mutual);
  state.SetLabel(key + (mutual ? ", client certificates" : ""));
  for (auto _ : state) {
    state.PauseTiming();
    auto server = std::make_unique<tls::Session>(pair.server_credentials, tls::SessionOptions{});
    auto client =
        std::make_unique<tls::Session>(pair.client_credentials, tls::SessionOptions{"127.0.0.1", {"h2"}});
    client->step();
    for (int i = 0; i < 4 && server->state() == tls::Session::State::kHandshake; ++i) {
      server->feed(client->take_output());
      state.ResumeTiming();
      server->step();
      state.PauseTiming();
      client->feed(server->take_output());
      while (client->wants_step()) client->step();
    }
    CHECK(server->state() == tls::Session::State::kOpen);
    server.reset();
    client.reset();
    state.ResumeTiming();
  }
}

void idle_memory(benchmark::State& state) {
  Pair pair("P-256", state.range(0) != 0);
  for (auto _ : state) {
    constexpr size_t kSessions = 200;
    std::vector<std::unique_ptr<tls::Session>> servers;
    // Once before, so that what is made once does not count.
    size_t before = 0;
    for (size_t i = 0; i < kSessions + 1; ++i) {
      if (i == 1) before = mallinfo2().uordblks;
      servers.push_back(std::make_unique<tls::Session>(pair.server_credentials, tls::SessionOptions{}));
      tls::Session client(pair.client_credentials, {"127.0.0.1", {"h2"}});
      tls::testing::shake(client, *servers.back());
      client.write(std::string(1000, 'x'));
      servers.back()->feed(client.take_output());
      CHECK(tls::testing::read_all(*servers.back()).size() == 1000);
      servers.back()->write("answer");
      (void)servers.back()->take_output();
      (void)servers.back()->take_identity();
    }
    state.counters["bytes_per_idle_session"] =
        static_cast<double>(mallinfo2().uordblks - before) / static_cast<double>(kSessions);
  }
}

void records(benchmark::State& state) {
  Pair pair("P-256", false);
  tls::Session server(pair.server_credentials, {}), client(pair.client_credentials, {"127.0.0.1", {}});
  tls::testing::shake(client, server);
  const std::string bytes(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) {
    client.write(bytes);
    server.feed(client.take_output());
    benchmark::DoNotOptimize(tls::testing::read_all(server));
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
}  // namespace

BENCHMARK(handshake)->ArgsProduct({{0, 1, 2, 3, 4, 5}, {0, 1}})->Unit(benchmark::kMicrosecond);
BENCHMARK(idle_memory)->Arg(0)->Arg(1)->Iterations(1);
BENCHMARK(records)->Arg(100)->Arg(16 << 10)->Arg(128 << 10);
