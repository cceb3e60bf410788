#include "httpapi/metrics_families.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace quoin::httpapi {
namespace {

using metrics::Cell;
using metrics::Type;

FamilyType family_type(Type type) {
  switch (type) {
    case Type::kCounter:
      return FamilyType::kCounter;
    case Type::kGauge:
      return FamilyType::kGauge;
    case Type::kHistogram:
      return FamilyType::kHistogram;
  }
  CHECK(false, "unknown metric type");
}

HistogramValue read_histogram(const metrics::Histogram& h) {
  HistogramValue out;
  uint64_t total = 0;
  for (size_t i = 0; i <= h.bounds().size(); ++i) {
    total += h.bucket(i);
    out.buckets.emplace_back(i < h.bounds().size() ? h.bounds()[i] : std::numeric_limits<double>::infinity(),
                             total);
  }
  out.sum = h.sum();
  return out;
}

SeriesValue read_cell(const Cell& cell) {
  SeriesValue out;
  out.labels = cell.labels;
  std::sort(out.labels.begin(), out.labels.end());
  std::visit(
      [&out](const auto& source) {
        using T = std::decay_t<decltype(source)>;
        if constexpr (std::is_same_v<T, std::function<double()>>)
          out.value = source();
        else if constexpr (std::is_same_v<T, const metrics::Histogram*>)
          out.histogram = read_histogram(*source);
        else
          out.value = static_cast<double>(source->value());
      },
      cell.source);
  return out;
}

// Fewer labels first, then by values in label order.
bool before(const SeriesValue& a, const SeriesValue& b) {
  if (a.labels.size() != b.labels.size()) return a.labels.size() < b.labels.size();
  for (size_t i = 0; i < a.labels.size(); ++i) {
    if (a.labels[i].second != b.labels[i].second) return a.labels[i].second < b.labels[i].second;
  }
  return false;
}

// What Go's runtime reports about itself has no counterpart where there is no collector; those stay 0, and
// heap figures come from the allocator.
void add_process_families(const ProcessStats& s, std::vector<FamilyValue>& out) {
  struct Row {
    std::string_view name;
    FamilyType type;
    double value;
    std::string_view help;
  };
  const ProcessStats::Heap& heap = s.heap;
  const double heap_idle = std::max(0.0, heap.system_bytes - heap.active_bytes);
  const Row rows[] = {
      {"go_gc_gogc_percent", FamilyType::kGauge, 100, "Kept for dashboards: there is no collector to tune."},
      {"go_gc_gomemlimit_bytes", FamilyType::kGauge, 9223372036854775807.0,
       "Kept for dashboards: no limit is set."},
      {"go_goroutines", FamilyType::kGauge, s.threads, "Threads of the process."},
      {"go_memstats_alloc_bytes", FamilyType::kGauge, heap.allocated_bytes, "Heap bytes in use."},
      {"go_memstats_alloc_bytes_total", FamilyType::kCounter, heap.allocated_bytes_total,
       "Heap bytes handed out since the start."},
      {"go_memstats_buck_hash_sys_bytes", FamilyType::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_frees_total", FamilyType::kCounter, heap.frees_total, "Heap objects given back."},
      {"go_memstats_gc_sys_bytes", FamilyType::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_heap_alloc_bytes", FamilyType::kGauge, heap.allocated_bytes, "Heap bytes in use."},
      {"go_memstats_heap_idle_bytes", FamilyType::kGauge, heap_idle, "Heap bytes obtained and not in use."},
      {"go_memstats_heap_inuse_bytes", FamilyType::kGauge, heap.active_bytes, "Bytes of heap pages in use."},
      {"go_memstats_heap_objects", FamilyType::kGauge,
       std::max(0.0, heap.allocations_total - heap.frees_total), "Heap objects in use."},
      {"go_memstats_heap_released_bytes", FamilyType::kGauge, heap.released_bytes,
       "Heap bytes given back to the system."},
      {"go_memstats_heap_sys_bytes", FamilyType::kGauge, heap.system_bytes,
       "Heap bytes obtained from the system."},
      {"go_memstats_last_gc_time_seconds", FamilyType::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_mallocs_total", FamilyType::kCounter, heap.allocations_total, "Heap objects handed out."},
      {"go_memstats_mcache_inuse_bytes", FamilyType::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_mcache_sys_bytes", FamilyType::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_mspan_inuse_bytes", FamilyType::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_mspan_sys_bytes", FamilyType::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_next_gc_bytes", FamilyType::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_other_sys_bytes", FamilyType::kGauge, heap.own_bytes, "Bytes of the allocator's own."},
      {"go_memstats_stack_inuse_bytes", FamilyType::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_stack_sys_bytes", FamilyType::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_sys_bytes", FamilyType::kGauge, heap.system_bytes + heap.own_bytes,
       "Bytes the allocator obtained from the system."},
      {"go_sched_gomaxprocs_threads", FamilyType::kGauge, s.cpus, "Processors the process may use."},
      {"go_threads", FamilyType::kGauge, s.threads, "Threads of the process."},
      {"process_cpu_seconds_total", FamilyType::kCounter, s.cpu_seconds,
       "User and system CPU time in seconds."},
      {"process_max_fds", FamilyType::kGauge, s.max_fds, "File descriptors that may be open."},
      {"process_network_receive_bytes_total", FamilyType::kCounter, s.network_receive_bytes,
       "Bytes received over the network."},
      {"process_network_transmit_bytes_total", FamilyType::kCounter, s.network_transmit_bytes,
       "Bytes sent over the network."},
      {"process_open_fds", FamilyType::kGauge, s.open_fds, "Open file descriptors."},
      {"process_resident_memory_bytes", FamilyType::kGauge, s.resident_bytes, "Resident memory in bytes."},
      {"process_start_time_seconds", FamilyType::kGauge, s.start_time_seconds,
       "Start of the process in seconds since 1970."},
      {"process_virtual_memory_bytes", FamilyType::kGauge, s.virtual_bytes, "Virtual memory in bytes."},
      {"process_virtual_memory_max_bytes", FamilyType::kGauge, s.virtual_max_bytes,
       "Virtual memory that may be used, in bytes."},
  };
  for (const Row& r : rows) {
    out.push_back({std::string(r.name), std::string(r.help), r.type, {{.value = r.value}}});
  }
  out.push_back({"go_info",
                 "Kept for dashboards: the Go version of the etcd release this one stands in for.",
                 FamilyType::kGauge,
                 {{.labels = {{"version", s.go_version}}, .value = 1}}});
  out.push_back({"go_gc_duration_seconds",
                 "Kept for dashboards: there are no collector pauses.",
                 FamilyType::kSummary,
                 {SeriesValue{}}});
}

}  // namespace

std::vector<FamilyValue> collect_families(const metrics::Registry& registry, const ProcessStats* process) {
  std::vector<FamilyValue> out;
  registry.visit([&out](const metrics::Family& family) {
    if (family.cells.empty()) return;
    FamilyValue& f = out.emplace_back(FamilyValue{family.name, family.help, family_type(family.type), {}});
    for (const Cell& cell : family.cells) f.series.push_back(read_cell(cell));
    std::stable_sort(f.series.begin(), f.series.end(), before);
  });
  if (process != nullptr) {
    add_process_families(*process, out);
    std::stable_sort(out.begin(), out.end(),
                     [](const FamilyValue& a, const FamilyValue& b) { return a.name < b.name; });
  }
  return out;
}

}  // namespace quoin::httpapi
