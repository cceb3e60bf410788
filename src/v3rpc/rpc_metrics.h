// Metric cells of the services that all loops share.
//
// Threads: any. Source: spec operations 5.2, 5.4.
#pragma once
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "base/metrics.h"

namespace quoin::v3rpc {

class RpcMetrics {
 public:
  // A client may send any text as its version; beyond this many different ones they count as "unknown".
  static constexpr size_t kVersionsMax = 64;

  explicit RpcMetrics(metrics::Registry& registry);

  // Calls by kind and the client's version; the series begins with the first call.
  metrics::Counter& client_requests(bool stream, std::string_view version);
  // Time spent reading the keys of one Range.
  metrics::Histogram& range_seconds(bool success);

  metrics::Gauge& pending_events;          // handed to streams by apply and not yet written
  metrics::Counter& watch_queues_full;     // a stream had no room and falls back to catching up
  metrics::Counter& watch_queues_drained;  // it has room again
  metrics::Counter& watch_catch_ups;       // run on a loop, beside its requests
  metrics::Gauge& reads_waiting;           // long reads that wait for memory (long_reads.h)
  metrics::Counter& snapshots_given_up;    // snapshot streams ended because their client read too slowly

 private:
  metrics::Registry& registry_;
  std::mutex mutex_;
  std::map<std::pair<bool, std::string>, metrics::Counter*, std::less<>>
      client_requests_;                                // guarded by mutex_
  std::map<bool, metrics::Histogram*> range_seconds_;  // guarded by mutex_
};

}  // namespace quoin::v3rpc
