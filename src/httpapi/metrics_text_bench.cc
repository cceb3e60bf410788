// Cost of a scrape: series as a member has them after start (some 750 of RPC counters) and ten times that.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "httpapi/gzip.h"
#include "httpapi/metrics_text.h"

namespace quoin::httpapi {
namespace {

void fill(metrics::Registry& registry, int64_t series) {
  for (int64_t i = 0; i < series; ++i) {
    registry
        .counter("grpc_server_handled_total", "Handled.",
                 {{"grpc_type", "unary"}, {"grpc_method", fmt::format("Method{}", i)}, {"grpc_code", "OK"}})
        .inc(static_cast<uint64_t>(i) * 7919);
  }
  for (int i = 0; i < 20; ++i) {
    registry.histogram(fmt::format("etcd_h{}_seconds", i), "H.", metrics::exponential_buckets(0.001, 2, 14))
        .observe(0.3);
  }
}

void BM_Render(benchmark::State& state) {
  metrics::Registry registry;
  fill(registry, state.range(0));
  const ProcessStats stats;
  size_t bytes = 0;
  for (auto _ : state) {
    const std::string page = render_metrics(registry, &stats);
    bytes += page.size();
    benchmark::DoNotOptimize(page.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes));
}
BENCHMARK(BM_Render)->Arg(750)->Arg(7500)->Unit(benchmark::kMicrosecond);

void BM_Gzip(benchmark::State& state) {
  metrics::Registry registry;
  fill(registry, state.range(0));
  const std::string page = render_metrics(registry, nullptr);
  for (auto _ : state) benchmark::DoNotOptimize(gzip(page));
}
BENCHMARK(BM_Gzip)->Arg(750)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace quoin::httpapi
