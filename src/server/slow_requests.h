// The lines about requests that took too long or failed in apply, and the count of the slow ones.
//
// Whoever measured a request asks slow() and builds texts only then (request_text.h).
// Threads: any. Lifetime: logger and counter outlive it. Source: spec operations 7.1.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"

namespace quoin::server {

// An error as it is called inside the server; what clients see may have another text.
std::string internal_text(const Error& error);

class SlowRequests {
 public:
  SlowRequests(log::Logger& log, int64_t threshold_ns, metrics::Counter& slow_applies)
      : log_(log), threshold_ns_(threshold_ns), slow_applies_(slow_applies) {}

  bool slow(int64_t took_ns) const { return took_ns > threshold_ns_; }
  // `prefix`: empty for an applied request, "read-only range ", "read-only txn ". `error` may be null.
  void warn(int64_t took_ns, std::string_view prefix, std::string_view request, std::string_view response,
            const Error* error);
  void failed(int64_t took_ns, std::string_view request, std::string_view response, const Error& error);

 private:
  log::Logger& log_;
  const int64_t threshold_ns_;
  metrics::Counter& slow_applies_;
};

}  // namespace quoin::server
