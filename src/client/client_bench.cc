// What a Put costs the client: unary calls over a socket to an echo on another thread, many in flight.
// Instructions of the client alone: valgrind --tool=callgrind --separate-threads=yes client_bench
// --benchmark_filter=... and the sum of the thread "bench" by the number of calls.
#include <benchmark/benchmark.h>

#include <future>

#include "base/check.h"
#include "client/client.h"
#include "client/methods.h"
#include "grpc/transport.h"
#include "grpc/turns.h"
#include "posix/clock.h"
#include "posix/loop.h"
#include "posix/timers.h"

namespace quoin::client {
namespace {

struct Echo final : grpc::UnaryHandler {
  void call(grpc::Call& call, std::string_view) override {
    call.respond(28, [&](char* p) { std::memset(p, 0, 28); });
  }
};

struct Server {
  posix::SystemClock clock;
  posix::ThreadTimers timers{clock};
  posix::UvLoop loop{"server"};
  posix::UvNetwork network;
  Echo echo;
  grpc::MethodTable methods;
  grpc::CallTable calls;
  grpc::Probe probe;
  grpc::MemoryBudget memory{1u << 30};
  grpc::Turns turns{loop};
  grpc::ServerContext context{methods, calls, probe, memory, {}, &turns};
  std::vector<std::unique_ptr<grpc::ServerTransport>> connections;
  std::unique_ptr<io::Listener> listener;

  Server() {
    methods.add_unary("etcdserverpb.KV", "Put", echo);
    auto l = network.listen({.host = "127.0.0.1"}, {&loop}, [this](std::unique_ptr<io::Stream> s) {
      connections.push_back(std::make_unique<grpc::ServerTransport>(context, std::move(s), grpc::PeerInfo{},
                                                                    clock, timers, "", [] {}));
    });
    CHECK(l.has_value());
    listener = std::move(*l);
  }
};

// Keeps one call in flight until `left` calls are made.
struct Putter final : Call {
  Client* client;
  size_t* left;
  size_t* open;
  Task* done;
  std::string_view request;
  CallOptions options;
  void next() {
    if (*left == 0) {
      if (--*open == 0) (*done)();
      return;
    }
    --*left;
    client->unary(*this, methods::kPut, request, options);
  }
  void on_message(std::string_view) override {}
  void on_end(GrpcStatus status, std::string_view) override {
    CHECK(status == GrpcStatus::kOk);
    next();
  }
};

// Arguments: calls in flight, calls a run, whether they have deadlines.
void BM_Put(benchmark::State& state) {
  Server server;
  posix::SystemClock clock;
  posix::ThreadTimers timers(clock);
  posix::UvLoop loop("bench");
  const Environment env{loop, server.network, timers, clock};
  std::unique_ptr<Client> client;
  const auto on_loop = [&](auto f) {
    std::promise<void> p;
    loop.post([&] {
      f();
      p.set_value();
    });
    p.get_future().get();
  };
  ClientOptions options;
  options.endpoints = {fmt::format("127.0.0.1:{}", server.listener->port())};
  on_loop([&] { client = *Client::make(options, env); });
  const std::string request(300, 'r');
  std::vector<std::unique_ptr<Putter>> putters;
  for (int64_t i = 0; i < state.range(0); ++i) putters.push_back(std::make_unique<Putter>());
  for (auto _ : state) {
    std::promise<void> finished;
    Task done = [&] { finished.set_value(); };
    size_t left = static_cast<size_t>(state.range(1)), open = putters.size();
    loop.post([&] {
      for (auto& p : putters) {
        p->client = client.get();
        p->left = &left;
        p->open = &open;
        p->done = &done;
        p->request = request;
        p->options = {};
        if (state.range(2)) p->options.deadline = clock.monotonic() + 3600 * io::kSecond;
        p->next();
      }
    });
    finished.get_future().get();
  }
  state.SetItemsProcessed(state.iterations() * state.range(1));
  on_loop([&] { client->close(); });
  on_loop([&] {
    putters.clear();
    client.reset();
  });
  loop.stop();
  std::promise<void> gone;
  server.loop.post([&] {
    server.listener.reset();
    server.connections.clear();
    gone.set_value();
  });
  gone.get_future().get();
  server.loop.stop();
}
BENCHMARK(BM_Put)->Args({500, 20'000, 0})->Args({500, 20'000, 1})->Args({1, 200, 0})->UseRealTime();

}  // namespace
}  // namespace quoin::client
