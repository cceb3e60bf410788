#include "v3rpc/rpc_metrics.h"

namespace quoin::v3rpc {

RpcMetrics::RpcMetrics(metrics::Registry& registry)
    : pending_events(registry.gauge("etcd_debugging_mvcc_pending_events_total",
                                    "Total number of pending events to be sent.")),
      watch_queues_full(registry.counter("quoin_watch_queues_full_total",
                                         "Times that a watch stream's queue had no room for an event.")),
      watch_queues_drained(registry.counter("quoin_watch_queues_drained_total",
                                            "Times that a full queue of a watch stream had room again.")),
      watch_catch_ups(registry.counter("quoin_watch_catch_ups_total",
                                       "Catch-ups of watchers that ran on a client loop.")),
      reads_waiting(registry.gauge("quoin_long_reads_waiting",
                                   "Long reads that wait because answers exceed the memory budget.")),
      snapshots_given_up(registry.counter("quoin_snapshot_streams_given_up_total",
                                          "Snapshot streams ended because their client read too slowly.")),
      registry_(registry) {}

metrics::Counter& RpcMetrics::client_requests(bool stream, std::string_view version) {
  std::lock_guard lock(mutex_);
  std::pair<bool, std::string> key(stream, version);
  if (client_requests_.size() >= kVersionsMax && !client_requests_.contains(key)) key.second = "unknown";
  metrics::Counter*& c = client_requests_[key];
  if (c == nullptr) {
    c = &registry_.counter("etcd_server_client_requests_total",
                           "The total number of client requests per client version.",
                           {{"client_api_version", key.second}, {"type", stream ? "stream" : "unary"}});
  }
  return *c;
}

metrics::Histogram& RpcMetrics::range_seconds(bool success) {
  std::lock_guard lock(mutex_);
  metrics::Histogram*& h = range_seconds_[success];
  if (h == nullptr) {
    h = &registry_.histogram("etcd_server_range_duration_seconds", "The latency distributions of txn.Range",
                             metrics::exponential_buckets(0.0001, 2, 20),
                             {{"success", success ? "true" : "false"}});
  }
  return *h;
}

}  // namespace quoin::v3rpc
