#include "httpapi/constant_metrics.h"

namespace quoin::httpapi {
namespace {

void register_absent_parts(metrics::Registry& r) {
  constexpr std::string_view kProxy = "Of etcd's gRPC proxy, which this program is not.";
  for (const char* name :
       {"etcd_grpc_proxy_cache_hits_total", "etcd_grpc_proxy_cache_keys_total",
        "etcd_grpc_proxy_cache_misses_total", "etcd_grpc_proxy_watchers_coalescing_total"}) {
    r.gauge(name, kProxy);
  }
  r.counter("etcd_grpc_proxy_events_coalescing_total", kProxy);

  constexpr std::string_view kStore = "Of etcd's v2 store, which this program does not keep.";
  r.counter("etcd_debugging_store_expires_total", kStore);
  r.counter("etcd_debugging_store_watch_requests_total", kStore);
  r.gauge("etcd_debugging_store_watchers", kStore);
  r.counter("etcd_debugging_store_reads_total", kStore, {{"action", "getRecursive"}});
  for (const char* action : {"create", "set"}) {
    r.counter("etcd_debugging_store_writes_total", kStore, {{"action", action}});
  }
}

}  // namespace

void register_constant_metrics(metrics::Registry& r, const ConstantMetrics& facts) {
  r.gauge("etcd_server_version", "Version of etcd that this server speaks as; always 1.",
          {{"server_version", facts.etcd_version}})
      .set(1);
  r.gauge("etcd_server_go_version", "Kept for dashboards; always 1.",
          {{"server_go_version", facts.go_version}})
      .set(1);
  r.gauge("quoin_build_info", "Quoin's own version; always 1.", {{"version", facts.quoin_version}}).set(1);
  for (const ConstantMetrics::Gate& g : facts.gates) {
    r.gauge("etcd_server_feature_enabled", "Whether a feature gate is on.",
            {{"name", g.name}, {"stage", g.stage}})
        .set(g.enabled ? 1 : 0);
  }
  if (facts.open_fds && facts.max_fds) {
    r.callback("os_fd_used", "Open file descriptors.", metrics::Type::kGauge, facts.open_fds);
    r.callback("os_fd_limit", "File descriptors that may be open.", metrics::Type::kGauge, facts.max_fds);
  }
  if (facts.output_queued_bytes) {
    r.callback("quoin_network_output_queued_bytes",
               "Bytes of answers and events that connections hold because their clients do not read.",
               metrics::Type::kGauge, facts.output_queued_bytes);
  }
  register_absent_parts(r);
}

}  // namespace quoin::httpapi
