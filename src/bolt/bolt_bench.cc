// Commits as the backend makes them, and reads, on a file in memory: what the code itself costs, without a
// disk.
#include <benchmark/benchmark.h>

#include "base/prng.h"
#include "bolt/db.h"
#include "bolt/freelist.h"
#include "bolt/testing/memory_fs.h"

namespace quoin::bolt {
namespace {

using testing::MemoryFs;

struct Bed {
  explicit Bed(uint64_t records = 0) {
    fs.track_durability = false;
    Options options;
    options.reserve_bytes = 4ull << 30;
    db = std::move(*Db::open(fs, "db", options));
    append(records);
  }
  static std::string key(uint64_t n) { return be64(n) + "_" + be64(0); }
  void append(uint64_t records) {
    auto tx = std::move(*db->begin_write());
    Bucket* b = *tx->create_bucket("key");
    b->set_fill_percent(kFillSequential);
    keys.clear();
    for (uint64_t i = 0; i < records; ++i) keys.push_back(key(next++));
    for (const std::string& k : keys) CHECK(b->put_ref(k, value).has_value());
    CHECK((*tx->create_bucket("meta"))->put("consistent_index", be64(next)).has_value());
    CHECK(db->commit_blocking(std::move(tx)).has_value());
  }
  MemoryFs fs;
  std::unique_ptr<Db> db;
  std::string value = std::string(300, 'v');
  std::vector<std::string> keys;
  uint64_t next = 1;
};

// items/s: records appended, commit included.
void BM_AppendCommit(benchmark::State& state) {
  const auto records = static_cast<uint64_t>(state.range(0));
  auto bed = std::make_unique<Bed>();
  for (auto _ : state) {
    if (bed->db->stats().size_bytes() > (2ull << 30)) {
      state.PauseTiming();
      bed = std::make_unique<Bed>();
      state.ResumeTiming();
    }
    bed->append(records);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_AppendCommit)->ArgName("records")->Arg(1000)->Arg(10000);

// A compaction: every other record of 100,000 deleted in ascending order, 1,000 scanned a commit.
void BM_CursorErase(benchmark::State& state) {
  const uint64_t records = 100'000;
  for (auto _ : state) {
    state.PauseTiming();
    auto bed = std::make_unique<Bed>(records);
    state.ResumeTiming();
    std::string from = Bed::key(0);
    for (bool more = true; more;) {
      auto tx = std::move(*bed->db->begin_write());
      WriteCursor c = (*tx->bucket("key"))->cursor();
      more = *c.seek(from);
      for (int scanned = 0; more && scanned < 1000; ++scanned) more = scanned % 2 ? *c.erase() : *c.next();
      if (more) from = std::string(c.key());
      CHECK(bed->db->commit_blocking(std::move(tx)).has_value());
    }
    state.PauseTiming();
    bed.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(records));
}
BENCHMARK(BM_CursorErase)->Unit(benchmark::kMillisecond);

// Ten runs of 2 to 11 pages and ten single pages a commit, in a file where every other page is free.
void BM_AllocateAmongSinglePages(benchmark::State& state) {
  Freelist f;
  const auto free = static_cast<uint64_t>(state.range(0));
  for (uint64_t i = 1; i <= free; ++i) f.add_free(PageId(2 * i));
  uint64_t at = 3;
  TxId tx(2);
  for (auto _ : state) {
    f.release({});
    for (uint64_t count = 2; count < 12; ++count) {
      benchmark::DoNotOptimize(f.allocate(count));
      benchmark::DoNotOptimize(f.allocate(1));
    }
    for (int i = 0; i < 10; ++i, at = at + 2 < 2 * free ? at + 2 : 3) f.free_run(PageId(at), 1, tx);
    tx = tx + 1;
  }
}
BENCHMARK(BM_AllocateAmongSinglePages)->ArgName("free")->Arg(1000)->Arg(1'000'000);

void BM_Get(benchmark::State& state) {
  Bed bed(static_cast<uint64_t>(state.range(0)));
  const auto tx = bed.db->begin_read();
  const BucketView b = **tx->bucket("key");
  Prng prng(1);
  for (auto _ : state) {
    const std::string k = Bed::key(prng.between(1, bed.next - 1));
    benchmark::DoNotOptimize(**b.get(k));
  }
}
BENCHMARK(BM_Get)->ArgName("records")->Arg(1000)->Arg(1'000'000);

void BM_Scan(benchmark::State& state) {
  const uint64_t records = 100'000;
  Bed bed(records);
  const auto tx = bed.db->begin_read();
  const BucketView b = **tx->bucket("key");
  for (auto _ : state) {
    Cursor c = b.cursor();
    size_t bytes = 0;
    for (bool more = *c.first(); more; more = *c.next()) bytes += c.value().size();
    benchmark::DoNotOptimize(bytes);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(records));
}
BENCHMARK(BM_Scan)->Unit(benchmark::kMillisecond);

// Opening without a saved list: the walk over all pages.
void BM_OpenWalk(benchmark::State& state) {
  const bool saved = state.range(0) != 0;
  Bed bed(1'000'000);
  CHECK(bed.db->close_blocking(saved).has_value());
  Options options;
  options.reserve_bytes = 4ull << 30;
  for (auto _ : state) {
    bed.db.reset();
    bed.db = std::move(*Db::open(bed.fs, "db", options));
  }
}
BENCHMARK(BM_OpenWalk)->ArgName("saved_list")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quoin::bolt
