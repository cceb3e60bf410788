// The gRPC metrics of etcd's server: calls started, handled and how long they took, messages and
// bytes.
//
// Threads: any; cells are found by the method's index. Source: spec operations 5 (grpc_server_*,
// etcd_network_client_grpc_*).
#pragma once
#include <array>
#include <memory>
#include <vector>

#include "base/metrics.h"
#include "grpc/call.h"
#include "io/clock.h"

namespace quoin::v3rpc {

class GrpcMetrics final : public grpc::Probe {
 public:
  // With a clock, which outlives this, also how long calls take (--metrics=extensive).
  explicit GrpcMetrics(metrics::Registry& registry, const io::Clock* clock = nullptr);
  // Before serving: makes room for every method. All loops' tables have the same methods in the same order.
  void register_methods(const grpc::MethodTable& methods);

  void started(const grpc::Method& m) override;
  void handled(const grpc::Call& call, GrpcStatus status) override;
  void received(const grpc::Method& m, size_t bytes) override;
  void sent(const grpc::Method& m, size_t bytes) override;

 private:
  static constexpr size_t kStatuses = 17;
  struct Cells {
    metrics::Counter* started;
    metrics::Counter* received;
    metrics::Counter* sent;
    metrics::Histogram* seconds = nullptr;
    std::array<metrics::Counter*, kStatuses> handled{};  // by status
  };
  metrics::Registry& registry_;
  const io::Clock* const clock_;
  metrics::Counter& received_bytes_;
  metrics::Counter& sent_bytes_;
  std::vector<std::unique_ptr<Cells>> cells_;
};

}  // namespace quoin::v3rpc
