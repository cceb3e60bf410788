// The gRPC metrics of etcd's server: calls started and handled, messages and bytes, client requests by
// version.
//
// Threads: any; cells are found by the method's index. Source: spec operations 5 (grpc_server_*,
// etcd_network_client_grpc_*).
#pragma once
#include <array>
#include <memory>
#include <vector>

#include "base/metrics.h"
#include "grpc/call.h"

namespace quoin::v3rpc {

class GrpcMetrics final : public grpc::Probe {
 public:
  explicit GrpcMetrics(metrics::Registry& registry);
  // Before serving: makes room for every method. All loops' tables have the same methods in the same order.
  void register_methods(const grpc::MethodTable& methods);

  void started(const grpc::Method& m) override;
  void handled(const grpc::Method& m, GrpcStatus status) override;
  void received(const grpc::Method& m, size_t bytes) override;
  void sent(const grpc::Method& m, size_t bytes) override;

 private:
  static constexpr size_t kStatuses = 17;
  struct Cells {
    metrics::Counter* started;
    metrics::Counter* received;
    metrics::Counter* sent;
    std::array<metrics::Counter*, kStatuses> handled{};  // by status
  };
  metrics::Registry& registry_;
  metrics::Counter& received_bytes_;
  metrics::Counter& sent_bytes_;
  std::vector<std::unique_ptr<Cells>> cells_;
};

}  // namespace quoin::v3rpc
