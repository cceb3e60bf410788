#include "cmd/etcd/process_stats.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "cmd/etcd/config.h"
#include "cmd/etcd/descriptors.h"
#include "cmd/etcd/flags_text.h"
#include "cmd/etcd/heap_stats.h"

namespace quoin::cmd {
namespace {

std::string read_file(const char* path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

uint64_t to_number(std::string_view s) {
  uint64_t v = 0;
  std::from_chars(s.data(), s.data() + s.size(), v);
  return v;
}

// Seconds since 1970 at which the machine started.
uint64_t boot_time() {
  const std::string stat = read_file("/proc/stat");
  const size_t at = stat.find("\nbtime ");
  return at == std::string::npos ? 0 : to_number(std::string_view(stat).substr(at + 7));
}

double limit_of(__rlimit_resource which) {
  rlimit limit{};
  if (getrlimit(which, &limit) != 0) return 0;
  return static_cast<double>(limit.rlim_cur);  // no limit is the largest number, as the page shows it
}

}  // namespace

Result<StatLine> parse_stat(std::string_view text) {
  // The name in parentheses may hold anything: fields count from behind it.
  const size_t close = text.rfind(')');
  if (close == std::string_view::npos || close + 2 > text.size()) return Code::kMalformed;
  const auto fields = split(trim_space(text.substr(close + 1)), ' ');
  constexpr size_t kUser = 11, kSystem = 12, kThreads = 17, kStart = 19, kVirtual = 20, kResident = 21;
  if (fields.size() <= kResident) return Code::kMalformed;
  return StatLine{to_number(fields[kUser]),  to_number(fields[kSystem]),  to_number(fields[kThreads]),
                  to_number(fields[kStart]), to_number(fields[kVirtual]), to_number(fields[kResident])};
}

std::pair<double, double> parse_netstat(std::string_view text) {
  std::vector<std::string> names;
  std::pair<double, double> out{0, 0};
  for (const std::string& line : split(text, '\n')) {
    if (line.compare(0, 7, "IpExt: ") != 0) continue;
    auto words = split(line, ' ');
    if (names.empty()) {
      names = std::move(words);
      continue;
    }
    for (size_t i = 0; i < std::min(names.size(), words.size()); ++i) {
      if (names[i] == "InOctets") out.first = static_cast<double>(to_number(words[i]));
      if (names[i] == "OutOctets") out.second = static_cast<double>(to_number(words[i]));
    }
    break;
  }
  return out;
}

int usable_processors() {
  cpu_set_t cpus;
  return sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? std::max(1, CPU_COUNT(&cpus)) : 1;
}

httpapi::ProcessStats read_process_stats() {
  httpapi::ProcessStats s;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  if (const auto stat = parse_stat(read_file("/proc/self/stat"))) {
    s.cpu_seconds = static_cast<double>(stat->user_ticks + stat->system_ticks) / ticks;
    s.virtual_bytes = static_cast<double>(stat->virtual_bytes);
    s.resident_bytes = static_cast<double>(stat->resident_pages) * static_cast<double>(sysconf(_SC_PAGESIZE));
    s.threads = static_cast<double>(stat->threads);
    static const uint64_t boot = boot_time();
    s.start_time_seconds = static_cast<double>(boot) + static_cast<double>(stat->start_ticks) / ticks;
  }
  s.open_fds = static_cast<double>(count_descriptors());
  s.max_fds = limit_of(RLIMIT_NOFILE);
  s.virtual_max_bytes = limit_of(RLIMIT_AS);
  std::tie(s.network_receive_bytes, s.network_transmit_bytes) =
      parse_netstat(read_file("/proc/self/net/netstat"));
  s.cpus = usable_processors();
  s.go_version = kGoVersion;
  s.heap = read_heap();
  return s;
}

}  // namespace quoin::cmd
