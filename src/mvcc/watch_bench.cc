// BM_Deliver/watchers/streams    one event to many watchers; time is per event delivered (items), put and
//                                publication included
// BM_CloseStream/watchers        a stream that ends, with all its watchers of one prefix (items)
// BM_MassReconnect/watchers      a stream on which all watchers are created again while a CatchUp is out
#include <benchmark/benchmark.h>

#include "mvcc/fake_backend_test.h"
#include "mvcc/fake_leases_test.h"
#include "mvcc/store.h"
#include "mvcc/watch.h"

namespace quoin::mvcc {
namespace {

struct CountingSink final : WatchSink {
  uint64_t bytes = 0;
  void control(WatchMessage) override {}
  bool deliver(const WatchMessage& message) override {
    bytes += message.events.size();
    return true;
  }
  void catch_up(std::unique_ptr<CatchUp>) override {}
  size_t header_bytes(int64_t) const override { return 24; }
};

void BM_Deliver(benchmark::State& state) {
  FakeBackend backend;
  FakeLeases leases;
  metrics::Registry registry;
  auto store = std::move(*Store::restore(backend, leases, registry));
  WatchTable table(*store, registry);
  std::vector<CountingSink> sinks(static_cast<size_t>(state.range(1)));
  std::vector<StreamId> streams;
  for (CountingSink& sink : sinks) streams.push_back(table.open_stream(sink));
  for (int64_t i = 0; i < state.range(0); ++i) {
    table.create(streams[static_cast<size_t>(i) % streams.size()],
                 {.key = "/registry/pods/", .range_end = "/registry/pods0"});
  }
  const std::string value(256, 'v');
  for (auto _ : state) {
    CHECK(store->begin().put({.key = "/registry/pods/ns-000/0123456789", .value = value}).has_value());
    store->end();
    table.publish();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Deliver)->Args({1, 1})->Args({1000, 10})->Args({10'000, 100})->Iterations(500);

struct Rig {
  FakeBackend backend;
  FakeLeases leases;
  metrics::Registry registry;
  std::unique_ptr<Store> store = std::move(*Store::restore(backend, leases, registry));
  WatchTable table{*store, registry};
  CountingSink sink;

  Rig() {
    for (int i = 0; i < 1000; ++i) {
      CHECK(store->begin().put({.key = "/registry/pods/a", .value = "v"}).has_value());
      store->end();
    }
    table.publish();
  }
  void create(StreamId stream, int64_t start) {
    table.create(stream, {.key = "/registry/pods/", .range_end = "/registry/pods0", .start_revision = start});
  }
};

void BM_CloseStream(benchmark::State& state) {
  Rig r;
  for (auto _ : state) {
    state.PauseTiming();
    const StreamId stream = r.table.open_stream(r.sink);
    for (int64_t i = 0; i < state.range(0); ++i) r.create(stream, 0);
    state.ResumeTiming();
    r.table.close_stream(stream);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void BM_MassReconnect(benchmark::State& state) {
  Rig r;
  for (auto _ : state) {
    const StreamId stream = r.table.open_stream(r.sink);
    for (int64_t i = 0; i < state.range(0); ++i) r.create(stream, 2);
    state.PauseTiming();
    r.table.close_stream(stream);
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_CloseStream)->Arg(10'000)->Arg(100'000)->Arg(1'000'000)->Iterations(2);
BENCHMARK(BM_MassReconnect)->Arg(10'000)->Arg(100'000)->Arg(1'000'000)->Iterations(2);

}  // namespace
}  // namespace quoin::mvcc
