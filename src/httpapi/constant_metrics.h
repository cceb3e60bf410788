// Families that every etcd shows and that nothing moves here: versions, feature gates, descriptors, and parts
// etcd has and Quoin does not (its proxies, the v2 store, so far the auth store). Dashboards and scrape
// checks expect them (spec operations 5.9).
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/metrics.h"

namespace quoin::httpapi {

struct ConstantMetrics {
  std::string etcd_version, go_version, quoin_version;
  struct Gate {
    std::string name, stage;  // ALPHA or BETA
    bool enabled;
  };
  std::vector<Gate> gates;
  // For os_fd_used and os_fd_limit, read at each scrape; may be empty.
  std::function<double()> open_fds, max_fds;
  // For quoin_network_output_queued_bytes; may be empty.
  std::function<double()> output_queued_bytes;
};

// Registers, once per registry: etcd_server_version, etcd_server_go_version, etcd_server_feature_enabled,
// quoin_build_info, quoin_network_output_queued_bytes, os_fd_used, os_fd_limit, etcd_grpc_proxy_* (5),
// etcd_debugging_store_* (5), etcd_debugging_auth_revision. No other module registers these.
void register_constant_metrics(metrics::Registry& registry, const ConstantMetrics& facts);

}  // namespace quoin::httpapi
