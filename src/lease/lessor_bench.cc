#include <benchmark/benchmark.h>

#include "base/check.h"
#include "base/prng.h"
#include "lease/lessor.h"
#include "sim/disk.h"
#include "sim/file_system.h"
#include "sim/world.h"

namespace quoin::lease {
namespace {

// A renewal of one of many leases; the budget is 0.3 us.
void Renew(benchmark::State& state) {
  sim::World world(1);
  sim::SimDisk disk(world);
  sim::Process& p = world.start_process("member");
  sim::SimFileSystem fs(disk, p.executor("file"));
  CHECK(fs.make_dirs("/d", 0700).has_value());
  metrics::Registry metrics;
  backend::Options o;
  o.path = "/d/db";
  auto backend = backend::Backend::open(o, fs, p.executor("apply"), p.executor("file"), p.timers(), p.clock(),
                                        metrics, log::null_logger());
  CHECK(backend.has_value());
  Lessor lessor({}, p.clock(), metrics);
  CHECK(lessor.recover(**backend).has_value());
  lessor.promote(0);
  Prng prng(1);
  std::vector<LeaseId> ids;
  for (int64_t i = 0; i < state.range(0); ++i) {
    ids.push_back(LeaseId(static_cast<int64_t>(prng.next() >> 1)));
    CHECK(lessor.grant(ids.back(), 60).has_value());
  }
  for (auto _ : state) benchmark::DoNotOptimize(lessor.renew(ids[prng.below(ids.size())]));
}
BENCHMARK(Renew)->Arg(1000)->Arg(100'000);

}  // namespace
}  // namespace quoin::lease
