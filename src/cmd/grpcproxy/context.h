// What the proxy's services share. All of it lives on one loop, and so do they: the cache, the watches and
// the leases that many clients share need no locks. One loop carries what several cores of etcd's proxy do.
#pragma once
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "client/client.h"
#include "grpc/call.h"
#include "grpc/turns.h"

namespace quoin::cmd::grpcproxy {

// Names as etcd's; what it calls total may fall, so it is a gauge.
struct Metrics {
  explicit Metrics(metrics::Registry& registry)
      : watchers_coalescing(registry.gauge("etcd_grpc_proxy_watchers_coalescing_total",
                                           "Total number of current watchers coalescing")),
        events_coalescing(
            registry.counter("etcd_grpc_proxy_events_coalescing_total", "Total number of events coalescing")),
        cache_keys(registry.gauge("etcd_grpc_proxy_cache_keys_total", "Total number of keys/ranges cached")),
        cache_hits(registry.gauge("etcd_grpc_proxy_cache_hits_total", "Total number of cache hits")),
        cache_misses(registry.gauge("etcd_grpc_proxy_cache_misses_total", "Total number of cache misses")),
        cache_bytes(registry.gauge("quoin_grpc_proxy_cache_bytes", "What the cached answers hold.")),
        slow_streams(registry.counter("quoin_grpc_proxy_slow_watch_streams_total",
                                      "Watch streams ended because their client read too slowly.")) {}
  metrics::Gauge& watchers_coalescing;
  metrics::Counter& events_coalescing;
  metrics::Gauge& cache_keys;
  metrics::Gauge& cache_hits;
  metrics::Gauge& cache_misses;
  metrics::Gauge& cache_bytes;
  metrics::Counter& slow_streams;
};

struct Context {
  client::Environment env;
  client::Client& client;
  grpc::CallTable& calls;
  grpc::Turns& turns;
  log::Logger& log;
  Metrics& metrics;
  std::string prefix;  // --namespace
};

// The token that a call brings, as metadata of the call it leads to.
inline client::Metadata token_of(const grpc::Call& call) {
  client::Metadata m;
  if (const auto token = call.metadata("token"); token && !token->empty()) m.emplace_back("token", *token);
  return m;
}

// A failure as etcd's proxy passes it on where it uses the whole client: etcd's errors have lost their code
// there, and the end of the caller's time is told as such.
inline std::pair<GrpcStatus, std::string_view> as_of_client(GrpcStatus status, std::string_view text) {
  if (status == GrpcStatus::kDeadlineExceeded) return {status, "context deadline exceeded"};
  if (client::is_etcd_error(text)) return {GrpcStatus::kUnknown, text};
  return {status, text};
}

// The error's text in Go.
std::string go_error_text(GrpcStatus status, std::string_view text);

}  // namespace quoin::cmd::grpcproxy
