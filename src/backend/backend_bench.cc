// What a record costs on its way into a segment, out of a view, and into the file.
#include <benchmark/benchmark.h>

#include "backend/backend.h"
#include "base/check.h"
#include "base/prng.h"
#include "sim/disk.h"
#include "sim/file_system.h"
#include "sim/world.h"

namespace quoin::backend {
namespace {

// A backend on a simulated disk, whose cost is memory traffic alone.
struct Bench {
  Bench() : world(1), disk(world), process(world.start_process("m")), fs(disk, process.executor("file")) {
    CHECK(fs.make_dirs("/d", 0700).has_value());
    Options o;
    o.path = "/d/db";
    auto opened = Backend::open(o, fs, process.executor("apply"), process.executor("file"), process.timers(),
                                process.clock(), metrics, log::null_logger());
    CHECK(opened.has_value());
    backend = std::move(*opened);
  }
  void flush() {
    bool durable = false;
    backend->commit([&] { durable = true; });
    CHECK(world.run_until([&] { return durable; }, 60 * io::kSecond));
  }
  sim::World world;
  sim::SimDisk disk;
  sim::Process& process;
  sim::SimFileSystem fs;
  metrics::Registry metrics;
  std::unique_ptr<Backend> backend;
};

// One put as apply makes it: the record, the index, a view; and every 10,000 a commit.
void Append(benchmark::State& state) {
  Bench b;
  const Blob value = Blob::copy(std::string(static_cast<size_t>(state.range(0)), 'v'));
  int64_t main = 1;
  for (auto _ : state) {
    ++main;
    b.backend->append({main, 0}, false, value);
    b.backend->set_consistent_index(Index(static_cast<uint64_t>(main)), Term(1));
    benchmark::DoNotOptimize(b.backend->view());
    if (main % 10'000 == 0) b.flush();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Append)->Arg(256)->Arg(4096);

// A record of a segment, and one of the file.
void Lookup(benchmark::State& state) {
  Bench b;
  const int64_t count = state.range(0);
  for (int64_t main = 2; main < count + 2; ++main) {
    b.backend->append({main, 0}, false, Blob::copy(std::string(256, 'v')));
    b.backend->set_consistent_index(Index(static_cast<uint64_t>(main)), Term(1));
  }
  if (state.range(1) != 0) b.flush();
  const auto view = b.backend->view();
  Prng prng(1);
  for (auto _ : state) {
    const auto r = view->record({2 + static_cast<int64_t>(prng.below(static_cast<uint64_t>(count))), 0});
    CHECK(r.has_value());
    benchmark::DoNotOptimize(*r);
  }
  state.SetLabel(state.range(1) != 0 ? "file" : "segment");
}
BENCHMARK(Lookup)->ArgNames({"records", "in_file"})->Args({5'000, 0})->Args({5'000, 1})->Args({200'000, 1});

}  // namespace
}  // namespace quoin::backend
