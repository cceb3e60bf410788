// The key index under its three kinds of change and its two kinds of count, with a publication after every 1,
// 64 or (0) no changes. "Copying" is what an index pays that replaces the entry, and so copies the path, for
// each change of a living key; "Creations" with 0 is change in place. Names are <what>/<keys>/<publish
// every>.
#include <benchmark/benchmark.h>

#include "base/prng.h"
#include "mvcc/key_index.h"

namespace quoin::mvcc {
namespace {

std::string key_of(uint64_t i) {
  return fmt::format("/registry/pods/ns-{:03}/{:010x}", i % 100,
                     (i * 0x9e3779b97f4a7c15ull) >> 24);  // 32 bytes
}

struct Filled {
  KeyIndex index;
  std::vector<std::string> keys;
  int64_t revision = 1;
  double bytes_per_key = 0;

  explicit Filled(int64_t count) {
    for (int64_t i = 0; i < count; ++i) keys.push_back(key_of(static_cast<uint64_t>(i)));
    for (const std::string& key : keys) create(key);
    // Of nodes, entries and revisions; the log of changes is bounded.
    bytes_per_key = static_cast<double>(index.pool().held_bytes()) / static_cast<double>(count) - 32;
    publish();
  }
  void create(std::string_view key) {
    ++revision;
    index.locate(key);
    index.put_located(key, RevisionNode::put({revision, 0}, revision, 1, false));
  }
  void overwrite(std::string_view key) {
    ++revision;
    const KeyEntry* entry = index.locate(key);
    index.put_located(key, RevisionNode::put({revision, 0}, entry->newest()->create_revision,
                                             entry->newest()->version() + 1, false));
  }
  std::shared_ptr<const IndexView> publish() {
    auto view = index.publish(revision, -1);
    index.collect(1000);
    return view;
  }
};

// Building a million keys takes a second, so a size is built once for all benchmarks.
Filled& filled(int64_t count) {
  static std::map<int64_t, std::unique_ptr<Filled>> all;
  auto& f = all[count];
  if (!f) f = std::make_unique<Filled>(count);
  return *f;
}

void BM_Creations(benchmark::State& state) {
  Filled f(state.range(0));
  const int64_t every = state.range(1);
  uint64_t next = static_cast<uint64_t>(state.range(0));
  for (auto _ : state) {
    f.create(key_of(next++));
    if (every > 0 && f.revision % every == 0) f.publish();
  }
  state.counters["bytes_per_key_beyond_key"] = f.bytes_per_key;
}
void BM_Overwrites(benchmark::State& state) {
  Filled& f = filled(state.range(0));
  const int64_t every = state.range(1);
  Prng prng(1);
  for (auto _ : state) {
    f.overwrite(f.keys[prng.below(f.keys.size())]);
    if (every > 0 && f.revision % every == 0) f.publish();
  }
}
void BM_OverwritesCopying(benchmark::State& state) {
  Filled& f = filled(state.range(0));
  const int64_t every = state.range(1);
  Prng prng(1);
  for (auto _ : state) {
    const std::string& key = f.keys[prng.below(f.keys.size())];
    f.index.copy_path(key);
    // A new entry would be made here; a copy of the old one's size stands for it.
    KeyEntry::destroy(f.index.pool(), KeyEntry::create(f.index.pool(), key, *f.index.locate(key)->newest()));
    ++f.revision;
    if (every > 0 && f.revision % every == 0) f.publish();
  }
}
void BM_Count(benchmark::State& state) {
  Filled f(state.range(0));
  Prng prng(3);
  const int64_t back = state.range(1);
  // Half creations, half deletions, so that every revision has a change in the log.
  uint64_t next = static_cast<uint64_t>(state.range(0));
  for (int64_t i = 0; i < back; ++i) {
    if (i % 2 == 0) {
      f.create(key_of(next++));
    } else {
      const auto* entry = f.index.locate(f.keys[static_cast<size_t>(i / 2) % f.keys.size()]);
      if (!entry->live()) continue;
      f.index.tombstone_located({++f.revision, 0});
    }
  }
  const auto view = f.publish();
  for (auto _ : state) {
    const std::string& a = f.keys[prng.below(f.keys.size())];
    const KeyRange range{a, "/registry/q"};
    benchmark::DoNotOptimize(view->ref().count(range, f.revision - back, f.revision));
  }
}
void BM_Find(benchmark::State& state) {
  Filled& f = filled(state.range(0));
  const auto view = f.publish();
  Prng prng(5);
  for (auto _ : state) benchmark::DoNotOptimize(view->ref().find(f.keys[prng.below(f.keys.size())]));
}
void BM_Walk1000(benchmark::State& state) {
  Filled& f = filled(state.range(0));
  const auto view = f.publish();
  Prng prng(3);
  for (auto _ : state) {
    int n = 0;
    for (IndexCursor c(view->ref(), f.keys[prng.below(f.keys.size())]); c.valid() && n < 1000; c.next()) {
      n += c.entry().live_at(f.revision);
    }
    benchmark::DoNotOptimize(n);
  }
}

#define SIZES ArgsProduct({{1000, 1'000'000}, {1, 64, 0}})
BENCHMARK(BM_Find)->Arg(1000)->Arg(1'000'000);
BENCHMARK(BM_Overwrites)->SIZES;
BENCHMARK(BM_OverwritesCopying)->SIZES;
BENCHMARK(BM_Walk1000)->Arg(2000)->Arg(1'000'000);
BENCHMARK(BM_Creations)->SIZES->Iterations(200'000);
BENCHMARK(BM_Count)->ArgsProduct({{2000, 1'000'000}, {0, 5'000, 10'000}})->Iterations(2000);

}  // namespace
}  // namespace quoin::mvcc
