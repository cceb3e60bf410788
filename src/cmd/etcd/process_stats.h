// Figures of this process for the metrics page, read from /proc and the allocator at each scrape.
#pragma once
#include <string>

#include "base/result.h"
#include "httpapi/metrics_text.h"

namespace quoin::cmd {

// Never fails: what cannot be read stays 0.
httpapi::ProcessStats read_process_stats();

// How many processors this process may run on (taskset, a container's set), at least 1.
int usable_processors();

// Parsers of the files, apart for tests.
// /proc/self/stat; times in clock ticks, start in ticks since boot.
struct StatLine {
  uint64_t user_ticks = 0, system_ticks = 0, threads = 0, start_ticks = 0, virtual_bytes = 0,
           resident_pages = 0;
};
Result<StatLine> parse_stat(std::string_view text);
// /proc/self/net/netstat: received and sent octets of IpExt.
std::pair<double, double> parse_netstat(std::string_view text);

}  // namespace quoin::cmd
