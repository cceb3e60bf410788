// Name/leases. Renew: one renewal. The others are whole runs of what goes in steps, with the longest step in
// microseconds of CPU time beside; a step is one task of apply.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <ctime>

#include "base/check.h"
#include "base/prng.h"
#include "lease/lessor.h"
#include "sim/disk.h"
#include "sim/file_system.h"
#include "sim/world.h"

namespace quoin::lease {
namespace {

struct Rig {
  sim::World world{1};
  sim::SimDisk disk{world};
  sim::Process& p = world.start_process("member");
  sim::SimFileSystem fs{disk, p.executor("file")};
  metrics::Registry metrics;
  std::unique_ptr<backend::Backend> backend;
  std::unique_ptr<Lessor> lessor;
  Prng prng{1};
  std::vector<LeaseId> ids;

  explicit Rig(int64_t leases) {
    CHECK(fs.make_dirs("/d", 0700).has_value());
    backend::Options o;
    o.path = "/d/db";
    backend = std::move(*backend::Backend::open(o, fs, p.executor("apply"), p.executor("file"), p.timers(),
                                                p.clock(), metrics, log::null_logger()));
    lessor = std::make_unique<Lessor>(Options{}, p.clock(), metrics);
    CHECK(lessor->recover(*backend).has_value());
    lessor->promote(0);
    for (int64_t i = 0; i < leases; ++i) {
      ids.push_back(LeaseId(static_cast<int64_t>(prng.next() >> 1)));
      CHECK(lessor->grant(ids.back(), static_cast<int64_t>(prng.between(60, 600))).has_value());
    }
  }
};

double cpu_us() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

// Runs `step` until it says that it is done.
template <class Step>
void run_steps(benchmark::State& state, Step step) {
  double longest = 0;
  for (bool done = false; !done;) {
    const double start = cpu_us();
    done = step();
    longest = std::max(longest, cpu_us() - start);
  }
  state.counters["longest_us"] = std::max(state.counters["longest_us"].value, longest);
}

void Promote(benchmark::State& state) {
  Rig r(state.range(0));
  for (auto _ : state) {
    r.lessor->promote(0);
    run_steps(state, [&] { return !r.lessor->maintain(1'000); });
  }
}

void List(benchmark::State& state) {
  Rig r(state.range(0));
  for (auto _ : state) {
    LeaseList list(*r.lessor);
    run_steps(state, [&] { return list.step(1'000); });
  }
}

void KeysOfOneLease(benchmark::State& state) {
  Rig r(1);
  for (int64_t i = 0; i < state.range(0); ++i) r.lessor->attach(r.ids[0], fmt::format("key/{:08}", i));
  for (auto _ : state) {
    std::string from;
    run_steps(state, [&] {
      const auto part = r.lessor->keys(r.ids[0], from, 1'000);
      if (part.size() < 1'000) return true;
      from = part.back() + '\0';
      return false;
    });
  }
}

void Renew(benchmark::State& state) {
  Rig r(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(r.lessor->renew(r.ids[r.prng.below(r.ids.size())]));
}
BENCHMARK(Renew)->Arg(1000)->Arg(100'000);
BENCHMARK(Promote)->Arg(100'000)->Arg(1'000'000)->Iterations(2)->Unit(benchmark::kMillisecond);
BENCHMARK(List)->Arg(100'000)->Arg(1'000'000)->Iterations(2)->Unit(benchmark::kMillisecond);
BENCHMARK(KeysOfOneLease)->Arg(100'000)->Arg(1'000'000)->Iterations(2)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quoin::lease
