// Bytes of file for each record over the size of the values, ours and bbolt's (real bbolt where there is Go):
// filled in order, after random updates and compaction, after a defragmentation, and written in no order. The
// counters are what counts, not the times.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>

#include "bolt/testing/layout.h"

namespace quoin::bolt {
namespace {

using testing::Layout;
using testing::layout_records;
using testing::LayoutCounts;

// Empty where there is no Go.
std::array<uint64_t, 8> of_bbolt(uint64_t records, uint64_t value_bytes) {
  const std::string dir = QUOIN_BOLT_INTEROP_DIR;
  std::filesystem::create_directories(dir);
  const std::string command = fmt::format(
      "flock {0}/lock sh -c 'cd {1}/src/bolt/interop && go build -o {0}/interop .' 2>/dev/null && "
      "{0}/interop layout {0}/bench.db {2} {3}",
      dir, QUOIN_SOURCE_DIR, records, value_bytes);
  std::array<uint64_t, 8> counts{};
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return counts;
  for (uint64_t& n : counts)
    if (fscanf(pipe, "%lu", &n) != 1) n = 0;
  pclose(pipe);
  return counts;
}

void BM_BytesPerRecord(benchmark::State& state) {
  const auto value_bytes = static_cast<uint64_t>(state.range(0));
  const uint64_t records = layout_records(value_bytes);
  LayoutCounts ours;
  for (auto _ : state) ours = Layout(records, value_bytes).run();
  static std::map<uint64_t, std::array<uint64_t, 8>> known;  // the body runs more than once
  if (!known.count(value_bytes)) known[value_bytes] = of_bbolt(records, value_bytes);
  const auto& theirs = known[value_bytes];
  const auto per_record = [&](uint64_t pages) {
    return static_cast<double>(pages) * 4096 / static_cast<double>(records);
  };
  const auto tell = [&](const std::string& what, uint64_t mine, uint64_t bbolts) {
    state.counters[what] = per_record(mine);
    state.counters[what + "_bbolt"] = per_record(bbolts);
  };
  tell("1_fill", ours.filled.in_use, theirs[0]);
  tell("2_updates", ours.updated.in_use, theirs[2]);
  tell("3_defrag", ours.defragmented.in_use, theirs[4]);
  tell("4_scattered", ours.scattered.in_use, theirs[6]);
}
BENCHMARK(BM_BytesPerRecord)
    ->ArgName("value_bytes")
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond)
    ->Arg(100)
    ->Arg(300)
    ->Arg(800)
    ->Arg(1300)
    ->Arg(1900)
    ->Arg(2100)
    ->Arg(2500)
    ->Arg(3000)
    ->Arg(4000)
    ->Arg(5000)
    ->Arg(7000)
    ->Arg(9000)
    ->Arg(13000)
    ->Arg(20000)
    ->Arg(50000)
    ->Arg(100'000)
    ->Arg(300'000);

}  // namespace
}  // namespace quoin::bolt
