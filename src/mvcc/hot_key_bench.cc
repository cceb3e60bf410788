// One key with very many revisions, over the fake backend: what a chain of revisions costs where the work
// goes through all of it. Argument: revisions. Each is linear in it, or nearly (items are revisions).
//   BM_HotKeyKeepRule     the decision of a compaction at the middle, record by record
//   BM_HotKeyHashKv       HashKV in the past
//   BM_HotKeyCatchUp      a watcher from the first revision on that wants previous values
//   BM_HotKeyIndexCompact cutting the chain in the index and freeing what was cut off
//   BM_HotKeyGetPast      one read at a random revision
#include <benchmark/benchmark.h>

#include "base/prng.h"
#include "mvcc/compaction.h"
#include "mvcc/fake_backend_test.h"
#include "mvcc/fake_leases_test.h"
#include "mvcc/hash_kv.h"
#include "mvcc/key_index.h"
#include "mvcc/store.h"
#include "mvcc/watch.h"

namespace quoin::mvcc {
namespace {

struct Rig {
  FakeBackend backend;
  FakeLeases leases;
  metrics::Registry registry;
  std::unique_ptr<Store> store;
  std::shared_ptr<const ReadView> view;

  explicit Rig(int64_t revisions) : backend(static_cast<size_t>(revisions) + 1) {
    store = std::move(*Store::restore(backend, leases, registry));
    for (int64_t i = 0; i < revisions; ++i) {
      CHECK(store->begin().put({.key = "hot", .value = "v"}).has_value());
      store->end();
    }
    view = store->publish();
  }
};

Rig& rig(int64_t revisions) {
  static std::unique_ptr<Rig> one;
  static int64_t size = 0;
  if (size != revisions) {
    one.reset();
    one = std::make_unique<Rig>(revisions);
    size = revisions;
  }
  return *one;
}

void BM_HotKeyKeepRule(benchmark::State& state) {
  Rig& r = rig(state.range(0));
  const int64_t middle = r.view->revision() / 2;
  size_t kept = 0;
  for (auto _ : state) {
    KeepRule rule(r.view->parts().index, middle, -1);
    CHECK(r.view->parts()
              .records
              ->scan_records({0, 0}, {middle + 1, 0},
                             [&](Revision revision, bool tombstone, std::string_view value) {
                               kept += rule.keep(backend::RevisionKey(revision, tombstone).view(), revision,
                                                 tombstone, value);
                               return true;
                             })
              .has_value());
  }
  CHECK_EQ(kept, static_cast<uint64_t>(state.iterations()));
  state.SetItemsProcessed(state.iterations() * middle);
}

void BM_HotKeyHashKv(benchmark::State& state) {
  Rig& r = rig(state.range(0));
  for (auto _ : state) {
    auto run = HashKvRun::start(r.view, r.view->revision() / 2);
    CHECK(run.has_value());
    while (!*run->step(1'000)) {
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0) / 2);
}

struct Taking final : WatchSink {
  std::unique_ptr<CatchUp> work;
  void control(WatchMessage) override {}
  bool deliver(const WatchMessage&) override { return true; }
  void catch_up(std::unique_ptr<CatchUp> w) override { work = std::move(w); }
  size_t header_bytes(int64_t) const override { return 24; }
};

void BM_HotKeyCatchUp(benchmark::State& state) {
  Rig& r = rig(state.range(0));
  for (auto _ : state) {
    metrics::Registry registry;
    WatchTable table(*r.store, registry);
    Taking sink;
    table.create(table.open_stream(sink), {.key = "hot", .start_revision = 1, .prev_kv = true});
    CHECK(sink.work != nullptr);
    for (;;) {
      const auto outcome = sink.work->step(r.view, 1'000, [](const WatchMessage&) { return true; });
      CHECK(outcome.has_value());
      if (*outcome == CatchUp::Outcome::kDone) break;
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void BM_HotKeyGetPast(benchmark::State& state) {
  Rig& r = rig(state.range(0));
  Prng prng(1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        r.view->get("hot", static_cast<int64_t>(prng.between(2, static_cast<uint64_t>(r.view->revision())))));
  }
}

void BM_HotKeyIndexCompact(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    KeyIndex index;
    for (int64_t i = 0; i < state.range(0); ++i) {
      index.locate("hot");
      index.put_located("hot", RevisionNode::put({i + 2, 0}, 2, i + 1, false));
    }
    index.publish(state.range(0) + 1, state.range(0) + 1);
    state.ResumeTiming();
    std::string from;
    CHECK(index.compact_step(state.range(0) / 2, 1'000, &from));
    index.publish(state.range(0) + 1, state.range(0) + 2);
    while (index.collect(1'000)) {
    }
    CHECK_EQ(index.garbage(), 0u);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0) / 2);
}

BENCHMARK(BM_HotKeyKeepRule)->Arg(10'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_HotKeyHashKv)->Arg(10'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_HotKeyCatchUp)->Arg(10'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_HotKeyGetPast)->Arg(10'000)->Arg(1'000'000);
BENCHMARK(BM_HotKeyIndexCompact)->Arg(10'000)->Arg(1'000'000)->Iterations(3)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quoin::mvcc
