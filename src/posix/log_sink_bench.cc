// What a log line costs the thread that logs it (copying into the ring), and what rendering costs the writer.
#include <benchmark/benchmark.h>

#include <cstdio>

#include "posix/log_render.h"
#include "posix/log_sink.h"

namespace quoin::posix {
namespace {

void BM_LogCall(benchmark::State& state) {
  LogSinkOptions o;
  o.outputs = {"/tmp/quoin_log_sink_bench.log"};
  o.sampling = state.range(0) != 0;
  auto sink = *LogSink::open(o);
  for (auto _ : state) {
    LOG(*sink, kInfo, "apply request took too long", {"took", log::Duration{123456789}},
        {"prefix", "read-only range "}, {"request", "key:\"foo\" "},
        {"response", "range_response_count:1 size:24"});
  }
  state.counters["dropped"] = static_cast<double>(sink->dropped());
  sink.reset();
  std::remove("/tmp/quoin_log_sink_bench.log");
}
BENCHMARK(BM_LogCall)->ArgName("sampling")->Arg(1)->Arg(0);

void BM_RenderJson(benchmark::State& state) {
  std::string record, out;
  encode_event(
      record,
      {log::Level::kInfo,
       "apply request took too long",
       {{"took", log::Duration{123456789}}, {"prefix", "read-only range "}, {"request", "key:\"foo\" "}},
       "src/server/x.cc",
       7},
      {});
  for (auto _ : state) {
    out.clear();
    render_json(out, record, log::Level::kInfo, 1795230169396000000);
    benchmark::DoNotOptimize(out.data());
  }
}
BENCHMARK(BM_RenderJson);

}  // namespace
}  // namespace quoin::posix
