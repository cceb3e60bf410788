// What an entry costs on its way to and from the log, disk apart. Bytes are values of one entry.
#include <benchmark/benchmark.h>

#include "base/check.h"
#include "sim/machine.h"
#include "wal/appender.h"
#include "wal/record.h"
#include "wal/segment_reader.h"
#include "wal/wal.h"

namespace quoin::wal {
namespace {

std::vector<raft::Entry> entries(size_t n, size_t bytes) {
  std::vector<raft::Entry> out;
  for (size_t i = 0; i < n; ++i) {
    out.push_back({quoin::Term(3), quoin::Index(1'000'000 + i), raft::EntryType::kNormal,
                   Blob::copy(std::string(bytes, 'v'))});
  }
  return out;
}

void per_entry(benchmark::State& state, size_t entries) {
  state.counters["entry"] =
      benchmark::Counter(static_cast<double>(entries),
                         benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

// Frames, checksum and the vector for one write of 100 entries.
void BM_EncodeGroup(benchmark::State& state) {
  const auto group = entries(100, static_cast<size_t>(state.range(0)));
  BatchEncoder encoder(1);
  for (auto _ : state) {
    for (const raft::Entry& e : group) encoder.add_entry(e);
    benchmark::DoNotOptimize(encoder.parts());
    encoder.clear();
  }
  per_entry(state, group.size());
}
BENCHMARK(BM_EncodeGroup)->ArgName("bytes")->Arg(16)->Arg(256)->Arg(4096);

// The appender on a simulated disk of no latency, one batch of 10 entries at a time: bookkeeping of a batch,
// the simulator's included.
void BM_AppendBatch(benchmark::State& state) {
  sim::Machine m(1);
  m.disk().latencies() = {{1, 1}, {1, 1}, {1, 1}, 0, 1};
  metrics::Registry registry;
  Probe probe(registry);
  CHECK(m.fs().make_dirs("/d", 0700).has_value());
  auto log = create(m.fs(), "/d/wal", "meta", m.log());
  CHECK(log.has_value());
  Appender appender(m.fs(), m.executor(), m.process().clock(), m.log(), probe, {}, std::move(log->tail),
                    [](Error) {});
  const auto group = entries(10, static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    bool done = false;
    appender.save({quoin::Term(3), MemberId(1), quoin::Index(5)}, group, [&] { done = true; });
    CHECK(m.run_until([&] { return done; }));
  }
  per_entry(state, group.size());
  m.kill();
}
BENCHMARK(BM_AppendBatch)->ArgName("bytes")->Arg(256)->Arg(4096);

// A whole segment, checksums and entries.
void BM_ReadSegment(benchmark::State& state) {
  sim::Machine m(1);
  BatchEncoder encoder(0);
  encoder.add_crc();
  encoder.add_metadata("meta");
  encoder.add_snapshot({});
  const size_t bytes = static_cast<size_t>(state.range(0));
  size_t n = 0;
  while (encoder.bytes() < static_cast<uint64_t>(state.range(1)) << 20) {
    encoder.add_entry({quoin::Term(1), quoin::Index(++n), raft::EntryType::kNormal,
                       Blob::copy(std::string(std::min(bytes, BatchEncoder::kInlineBytes), 'v'))});
  }
  std::string file;
  for (std::string_view part : encoder.parts()) file += part;
  m.disk().put_file("/wal/" + segment_name(0, quoin::Index(0)), file);
  for (auto _ : state) {
    auto contents = read(m.fs(), "/wal", {}, m.log());
    CHECK(contents.has_value() && contents->entries.size() == n);
  }
  per_entry(state, n);
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * file.size()));
}
BENCHMARK(BM_ReadSegment)->ArgNames({"bytes", "MiB"})->Args({256, 1})->Args({256, 64});

}  // namespace
}  // namespace quoin::wal
