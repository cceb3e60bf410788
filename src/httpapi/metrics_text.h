// The metrics page as Go's Prometheus client prints it (spec operations 5.1): families by name, HELP and TYPE
// lines, series by label values, numbers in Go's shortest %g form.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"

namespace quoin::httpapi {

// Figures of this process at the time of a scrape; the program fills them in. The page shows them under the
// process_* names, and under the go_* names of what corresponds best.
struct ProcessStats {
  double cpu_seconds = 0;
  double open_fds = 0;
  double max_fds = 0;
  double virtual_bytes = 0;
  double virtual_max_bytes = 0;  // no limit: 18446744073709551615
  double resident_bytes = 0;
  double start_time_seconds = 0;
  double network_receive_bytes = 0;
  double network_transmit_bytes = 0;
  double threads = 0;
  double cpus = 0;
  std::string go_version;  // label of go_info
  // Of the allocator.
  struct Heap {
    double allocated_bytes = 0;  // handed out and not given back
    double active_bytes = 0;     // of pages of which some are handed out
    double system_bytes = 0;     // obtained from the system, given back or not
    double released_bytes = 0;   // of these, given back
    double own_bytes = 0;        // the allocator's own
    // Since the start; they only grow.
    double allocated_bytes_total = 0, allocations_total = 0, frees_total = 0;
  } heap;
};

// Go's strconv 'g' with the shortest digits, and +Inf, -Inf, NaN.
std::string format_float(double v);

// The content type of the page.
inline constexpr std::string_view kMetricsContentType =
    "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

// The other form, for scrapers that ask for io.prometheus.client.MetricFamily messages.
inline constexpr std::string_view kMetricsProtoContentType =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; "
    "escaping=underscores";

// The whole page: all families of the registry and those of `process` (none if null).
std::string render_metrics(const metrics::Registry& registry, const ProcessStats* process);

// The same as length-delimited messages.
std::string render_metrics_proto(const metrics::Registry& registry, const ProcessStats* process);

}  // namespace quoin::httpapi
