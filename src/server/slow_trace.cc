#include "server/slow_trace.h"

#include <cstdlib>
#include <ctime>
#include <vector>

#include "base/go_duration.h"
#include "base/prng.h"
#include "base/result.h"

namespace quoin::server {

std::string time_text(io::WallNs wall) {
  std::time_t seconds = wall / io::kSecond;
  std::tm tm{};
  localtime_r(&seconds, &tm);
  std::string zone = "Z";
  if (tm.tm_gmtoff != 0) {
    const long minutes = std::labs(tm.tm_gmtoff) / 60;
    zone = fmt::format("{}{:02}{:02}", tm.tm_gmtoff < 0 ? '-' : '+', minutes / 60, minutes % 60);
  }
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}{}", tm.tm_year + 1900, tm.tm_mon + 1,
                     tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, wall % io::kSecond / 1'000, zone);
}

TraceFields& TraceFields::add(std::string_view key, std::string_view value) {
  fields_ += fmt::format("{}:{}; ", key, value);
  return *this;
}

TraceFields& TraceFields::add(std::string_view key, int64_t value) {
  fields_ += fmt::format("{}:{}; ", key, value);
  return *this;
}

std::string TraceFields::text() const {
  return fields_.empty() ? std::string() : "{" + fields_ + "}";
}

void log_trace(log::Logger& log, io::Clock& clock, std::string_view operation, const TraceFields& detail,
               io::MonotonicNs begin, io::MonotonicNs end, std::initializer_list<TraceStep> steps,
               ListedSteps listed) {
  if (!log.enabled(log::Level::kInfo)) return;
  // Only has to tell one line from the next.
  const uint64_t number = Prng(static_cast<uint64_t>(begin) ^ static_cast<uint64_t>(end) << 20).next() >> 33;
  int64_t taken = 0;
  for (const TraceStep& step : steps) taken += step.end != 0 ? 1 : 0;
  const int64_t longer_than = listed == ListedSteps::kAll ? 0 : kSlowTraceNs / (taken + 1);
  std::vector<std::string> lines;
  io::MonotonicNs from = begin;
  for (const TraceStep& step : steps) {
    if (step.end == 0) continue;
    const int64_t took = step.end - from;
    from = step.end;
    if (took <= longer_than) continue;
    // The fields of a step would stand between the two blanks.
    lines.push_back(fmt::format("trace[{}] '{}'  (duration: {})", number, step.name, duration_text(took)));
  }
  const io::WallNs wall_end = clock.wall() - (clock.monotonic() - end);
  const std::string message = fmt::format("trace[{}] {}", number, operation), text = detail.text();
  const std::string start_text = time_text(wall_end - (end - begin)), end_text = time_text(wall_end);
  log.log(log::Event{log::Level::kInfo,
                     message,
                     {{"detail", text},
                      {"duration", log::Duration{end - begin}},
                      {"start", start_text},
                      {"end", end_text},
                      {"steps", lines},
                      {"step_count", lines.size()}},
                     __FILE__,
                     __LINE__});
}

}  // namespace quoin::server
