// Unary echo over in-memory pipes: server CPU per call with many calls in flight (design.md section 2: 2.7 to
// 3 us in total for RPC, of which the socket calls are not in here). The client's share is measured apart and
// taken off by recording its bytes first.
#include <benchmark/benchmark.h>

#include <chrono>

#include "base/check.h"
#include "grpc/client_connection.h"
#include "grpc/protocol.h"
#include "grpc/server_connection.h"

namespace quoin::grpc {
namespace {

struct Echo final : UnaryHandler {
  void call(Call& call, std::string_view request) override {
    call.respond(request.size(), [&](char* p) { std::memcpy(p, request.data(), request.size()); });
  }
};
struct Down final : StreamHandler, StreamListener {
  Call* call = nullptr;
  std::unique_ptr<StreamListener> open(Call& c) override {
    call = &c;
    struct Forward final : StreamListener {
      void on_message(std::string_view) override {}
    };
    return std::make_unique<Forward>();
  }
  void on_message(std::string_view) override {}
};
struct Ignore final : ClientListener, ServerConnection::Notify {
  size_t ended = 0, messages = 0;
  void on_message(http2::StreamId, std::string_view) override { ++messages; }
  void on_end(http2::StreamId, GrpcStatus status, std::string_view) override {
    CHECK(status == GrpcStatus::kOk);
    ++ended;
  }
  void output_ready() override {}
};

struct Pair {
  MethodTable methods;
  CallTable calls;
  Probe probe;
  MemoryBudget memory{size_t{1} << 32};
  Echo echo;
  Down down;
  Ignore ignore;
  ServerContext context{methods, calls, probe, memory, {}};
  std::unique_ptr<ServerConnection> server;
  ClientConnection client{{}};
  int64_t server_ns = 0;

  Pair() {
    methods.add_unary("etcdserverpb.KV", "Put", echo);
    methods.add_stream("etcdserverpb.Watch", "Watch", MethodKind::kBidiStream, down);
    server = std::make_unique<ServerConnection>(context, PeerInfo{}, ignore, 0);
  }
  static int64_t clock() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  void run() {
    for (;;) {
      http2::ByteQueue up, down_bytes;
      CHECK(client.produce(up, SIZE_MAX));
      const std::string bytes = up.take_all();
      const int64_t start = clock();
      if (!bytes.empty()) CHECK(server->feed(bytes, 0));
      while (server->unfed()) CHECK(server->feed({}, 0));
      CHECK(server->produce(down_bytes, SIZE_MAX));
      server_ns += clock() - start;
      if (down_bytes.empty() && bytes.empty()) return;
      const std::string answer = down_bytes.take_all();
      CHECK(client.feed(answer, 0));
    }
  }
};

// Arguments: calls in flight, bytes of the message. The time shown is the server's alone.
void BM_UnaryEcho(benchmark::State& state) {
  Pair pair;
  const auto in_flight = static_cast<size_t>(state.range(0));
  const std::string message(static_cast<size_t>(state.range(1)), 'm');
  ClientConnection::CallOptions options;
  options.metadata = {{"client-api-version", "3.6.16"}, {"hasleader", "true"}};
  options.timeout_ns = 5 * io::kSecond;
  pair.run();
  double total_ns = 0;
  for (auto _ : state) {
    pair.server_ns = 0;
    for (size_t i = 0; i < in_flight; ++i) {
      CHECK(pair.client.unary("/etcdserverpb.KV/Put", message, pair.ignore, options));
    }
    pair.run();
    total_ns += static_cast<double>(pair.server_ns);
    state.SetIterationTime(static_cast<double>(pair.server_ns) / 1e9);
  }
  CHECK_EQ(pair.client.open_calls(), 0u);
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * in_flight));
  state.counters["ns_per_call"] =
      benchmark::Counter(static_cast<double>(state.iterations() * in_flight) * 1e-9,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(BM_UnaryEcho)->Args({500, 264})->Args({1, 264})->Args({500, 16})->UseManualTime();

// One watch stream, messages of an own head and a shared tail. Arguments: messages per round, bytes of the
// tail.
void BM_WatchMessages(benchmark::State& state) {
  Pair pair;
  auto id = pair.client.open("/etcdserverpb.Watch/Watch", pair.ignore, {});
  CHECK(id);
  pair.run();
  const Blob tail = Blob::copy(std::string(static_cast<size_t>(state.range(1)), 't'));
  const auto batch = static_cast<size_t>(state.range(0));
  double total_ns = 0;
  for (auto _ : state) {
    pair.server_ns = 0;
    const int64_t start = Pair::clock();
    for (size_t i = 0; i < batch; ++i) pair.down.call->send("header-and-watch-id", tail);
    const int64_t sending = Pair::clock() - start;
    pair.run();
    total_ns += static_cast<double>(pair.server_ns + sending);
    state.SetIterationTime(static_cast<double>(pair.server_ns + sending) / 1e9);
  }
  state.counters["ns_per_message"] =
      benchmark::Counter(static_cast<double>(state.iterations() * batch) * 1e-9,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(BM_WatchMessages)->Args({100, 300})->Args({10, 20'000})->UseManualTime();

}  // namespace
}  // namespace quoin::grpc
