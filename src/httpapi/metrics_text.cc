#include "httpapi/metrics_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <deque>

#include "base/check.h"

namespace quoin::httpapi {
namespace {

using metrics::Cell;
using metrics::Labels;
using metrics::Type;

std::string_view type_name(Type type) {
  switch (type) {
    case Type::kCounter:
      return "counter";
    case Type::kGauge:
      return "gauge";
    case Type::kHistogram:
      return "histogram";
  }
  return "untyped";
}

void append_escaped(std::string& out, std::string_view s, bool quotes) {
  for (const char c : s) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else if (c == '"' && quotes)
      out += "\\\"";
    else
      out += c;
  }
}

void append_head(std::string& out, std::string_view name, std::string_view help, std::string_view type) {
  out += "# HELP ";
  out += name;
  out += ' ';
  append_escaped(out, help, false);
  out += "\n# TYPE ";
  out += name;
  out += ' ';
  out += type;
  out += '\n';
}

// name{a="b",le="1"} value
void append_series(std::string& out, std::string_view name, std::string_view suffix, const Labels& labels,
                   std::string_view extra_name, std::string_view extra_value, std::string_view value) {
  out += name;
  out += suffix;
  char separator = '{';
  const auto label = [&](std::string_view key, std::string_view text) {
    out += separator;
    out += key;
    out += "=\"";
    append_escaped(out, text, true);
    out += '"';
    separator = ',';
  };
  for (const auto& [key, text] : labels) label(key, text);
  if (!extra_name.empty()) label(extra_name, extra_value);
  if (separator == ',') out += '}';
  out += ' ';
  out += value;
  out += '\n';
}

void append_histogram(std::string& out, std::string_view name, const Labels& labels,
                      const metrics::Histogram& h) {
  uint64_t total = 0;
  for (size_t i = 0; i <= h.bounds().size(); ++i) {
    total += h.bucket(i);
    const std::string bound = i < h.bounds().size() ? format_float(h.bounds()[i]) : "+Inf";
    append_series(out, name, "_bucket", labels, "le", bound, fmt::format_int(total).c_str());
  }
  append_series(out, name, "_sum", labels, {}, {}, format_float(h.sum()));
  append_series(out, name, "_count", labels, {}, {}, fmt::format_int(total).c_str());
}

// Labels by name; series by number of labels, then by values in that order.
struct Series {
  Labels labels;
  const Cell* cell;
};
std::vector<Series> sorted_series(const std::deque<Cell>& cells) {
  std::vector<Series> out;
  for (const Cell& c : cells) {
    out.push_back({c.labels, &c});
    std::sort(out.back().labels.begin(), out.back().labels.end());
  }
  std::stable_sort(out.begin(), out.end(), [](const Series& a, const Series& b) {
    if (a.labels.size() != b.labels.size()) return a.labels.size() < b.labels.size();
    for (size_t i = 0; i < a.labels.size(); ++i) {
      if (a.labels[i].second != b.labels[i].second) return a.labels[i].second < b.labels[i].second;
    }
    return false;
  });
  return out;
}

std::string value_text(const Cell& cell) {
  return std::visit(
      [](const auto& source) -> std::string {
        using T = std::decay_t<decltype(source)>;
        if constexpr (std::is_same_v<T, std::function<double()>>)
          return format_float(source());
        else if constexpr (std::is_same_v<T, const metrics::Histogram*>)
          CHECK(false, "a histogram is not one number");
        else
          return format_float(static_cast<double>(source->value()));
      },
      cell.source);
}

std::string family_text(const metrics::Family& family) {
  std::string out;
  if (family.cells.empty()) return out;
  append_head(out, family.name, family.help, type_name(family.type));
  for (const Series& s : sorted_series(family.cells)) {
    if (const auto* h = std::get_if<const metrics::Histogram*>(&s.cell->source)) {
      append_histogram(out, family.name, s.labels, **h);
    } else {
      append_series(out, family.name, {}, s.labels, {}, {}, value_text(*s.cell));
    }
  }
  return out;
}

using Block = std::pair<std::string, std::string>;

// What Go's runtime reports about itself has no counterpart where there is no collector; those stay 0, and
// heap figures come from the allocator.
void process_blocks(const ProcessStats& s, std::vector<Block>& out) {
  struct Row {
    std::string_view name;
    Type type;
    double value;
    std::string_view help;
  };
  const double heap_idle = std::max(0.0, s.heap_mapped_bytes - s.heap_in_use_bytes);
  const Row rows[] = {
      {"go_gc_gogc_percent", Type::kGauge, 100, "Kept for dashboards: there is no collector to tune."},
      {"go_gc_gomemlimit_bytes", Type::kGauge, 9223372036854775807.0,
       "Kept for dashboards: no limit is set."},
      {"go_goroutines", Type::kGauge, s.threads, "Threads of the process."},
      {"go_memstats_alloc_bytes", Type::kGauge, s.heap_in_use_bytes, "Heap bytes in use."},
      {"go_memstats_alloc_bytes_total", Type::kCounter, s.heap_in_use_bytes, "Heap bytes in use."},
      {"go_memstats_buck_hash_sys_bytes", Type::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_frees_total", Type::kCounter, 0, "Kept for dashboards."},
      {"go_memstats_gc_sys_bytes", Type::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_heap_alloc_bytes", Type::kGauge, s.heap_in_use_bytes, "Heap bytes in use."},
      {"go_memstats_heap_idle_bytes", Type::kGauge, heap_idle, "Heap bytes obtained and not in use."},
      {"go_memstats_heap_inuse_bytes", Type::kGauge, s.heap_in_use_bytes, "Heap bytes in use."},
      {"go_memstats_heap_objects", Type::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_heap_released_bytes", Type::kGauge, s.heap_released_bytes,
       "Heap bytes given back to the system."},
      {"go_memstats_heap_sys_bytes", Type::kGauge, s.heap_mapped_bytes,
       "Heap bytes obtained from the system."},
      {"go_memstats_last_gc_time_seconds", Type::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_mallocs_total", Type::kCounter, 0, "Kept for dashboards."},
      {"go_memstats_mcache_inuse_bytes", Type::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_mcache_sys_bytes", Type::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_mspan_inuse_bytes", Type::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_mspan_sys_bytes", Type::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_next_gc_bytes", Type::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_other_sys_bytes", Type::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_stack_inuse_bytes", Type::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_stack_sys_bytes", Type::kGauge, 0, "Kept for dashboards."},
      {"go_memstats_sys_bytes", Type::kGauge, s.heap_mapped_bytes, "Heap bytes obtained from the system."},
      {"go_sched_gomaxprocs_threads", Type::kGauge, s.cpus, "Processors the process may use."},
      {"go_threads", Type::kGauge, s.threads, "Threads of the process."},
      {"process_cpu_seconds_total", Type::kCounter, s.cpu_seconds, "User and system CPU time in seconds."},
      {"process_max_fds", Type::kGauge, s.max_fds, "File descriptors that may be open."},
      {"process_network_receive_bytes_total", Type::kCounter, s.network_receive_bytes,
       "Bytes received over the network."},
      {"process_network_transmit_bytes_total", Type::kCounter, s.network_transmit_bytes,
       "Bytes sent over the network."},
      {"process_open_fds", Type::kGauge, s.open_fds, "Open file descriptors."},
      {"process_resident_memory_bytes", Type::kGauge, s.resident_bytes, "Resident memory in bytes."},
      {"process_start_time_seconds", Type::kGauge, s.start_time_seconds,
       "Start of the process in seconds since 1970."},
      {"process_virtual_memory_bytes", Type::kGauge, s.virtual_bytes, "Virtual memory in bytes."},
      {"process_virtual_memory_max_bytes", Type::kGauge, s.virtual_max_bytes,
       "Virtual memory that may be used, in bytes."},
  };
  for (const Row& r : rows) {
    std::string text;
    append_head(text, r.name, r.help, type_name(r.type));
    append_series(text, r.name, {}, {}, {}, {}, format_float(r.value));
    out.emplace_back(r.name, std::move(text));
  }
  std::string info;
  append_head(info, "go_info",
              "Kept for dashboards: the Go version of the etcd release this one stands in for.", "gauge");
  append_series(info, "go_info", {}, {{"version", s.go_version}}, {}, {}, "1");
  out.emplace_back("go_info", std::move(info));
  constexpr std::string_view kPauses = "go_gc_duration_seconds";
  std::string pauses;
  append_head(pauses, kPauses, "Kept for dashboards: there are no collector pauses.", "summary");
  for (const std::string_view q : {"0", "0.25", "0.5", "0.75", "1"})
    append_series(pauses, kPauses, {}, {}, "quantile", q, "0");
  append_series(pauses, kPauses, "_sum", {}, {}, {}, "0");
  append_series(pauses, kPauses, "_count", {}, {}, {}, "0");
  out.emplace_back(kPauses, std::move(pauses));
}

}  // namespace

std::string format_float(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v > 0 ? "+Inf" : "-Inf";
  if (v == 0) return "0";
  char buffer[64];
  // Shortest digits d.ddde±xx first: they decide which form Go takes.
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, v, std::chars_format::scientific).ptr;
  const std::string_view scientific(buffer, static_cast<size_t>(end - buffer));
  const size_t e = scientific.find('e');
  int exponent = 0;
  const size_t sign = scientific[e + 1] == '+' ? 2 : 1;
  std::from_chars(scientific.data() + e + sign, end, exponent);
  constexpr int kLow = -4, kHigh = 6;
  if (exponent < kLow || exponent >= kHigh) return std::string(scientific);
  const auto fixed_end = std::to_chars(buffer, buffer + sizeof buffer, v, std::chars_format::fixed).ptr;
  return std::string(buffer, static_cast<size_t>(fixed_end - buffer));
}

std::string render_metrics(const metrics::Registry& registry, const ProcessStats* process) {
  std::vector<Block> blocks;
  registry.visit([&blocks](const metrics::Family& f) { blocks.emplace_back(f.name, family_text(f)); });
  if (process != nullptr) {
    process_blocks(*process, blocks);
    std::stable_sort(blocks.begin(), blocks.end(),
                     [](const Block& a, const Block& b) { return a.first < b.first; });
  }
  size_t bytes = 0;
  for (const Block& b : blocks) bytes += b.second.size();
  std::string page;
  page.reserve(bytes);
  for (const Block& b : blocks) page += b.second;
  return page;
}

}  // namespace quoin::httpapi
