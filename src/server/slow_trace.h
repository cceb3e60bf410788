// The line `trace[<n>] <operation>` about a request that took longer than 100 ms: what it was, and which of its steps
// took the time.
//
// Whoever served the request knows when its steps ended, asks slow_trace() with the times it has anyway, and makes the
// line only then. A step is listed if it took longer than an equal share of 100 ms would be, one share for each step
// and one for what comes after them.
// Threads: any. Source: spec operations 7.1.
#pragma once
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/log.h"
#include "io/clock.h"

namespace quoin::server {

constexpr int64_t kSlowTraceNs = 100 * io::kMillisecond;

inline bool slow_trace(int64_t took_ns) {
  return took_ns > kSlowTraceNs;
}

// A moment as Go's log writes it, in the local time zone.
std::string time_text(io::WallNs wall);

// "key:value; ", one after another; in braces once they are in a line.
class TraceFields {
 public:
  TraceFields& add(std::string_view key, std::string_view value);
  TraceFields& add(std::string_view key, int64_t value);
  // "" if there are none.
  std::string text() const;

 private:
  std::string fields_;
};

struct TraceStep {
  std::string_view name;
  io::MonotonicNs end;  // it began when the one before it ended; 0: it did not come to this step
};

enum class ListedSteps : uint8_t { kLong, kAll };

// `begin`, `end`: of the request, by clock.monotonic().
void log_trace(log::Logger& log, io::Clock& clock, std::string_view operation, const TraceFields& detail,
               io::MonotonicNs begin, io::MonotonicNs end, std::initializer_list<TraceStep> steps,
               ListedSteps listed = ListedSteps::kLong);

}  // namespace quoin::server
