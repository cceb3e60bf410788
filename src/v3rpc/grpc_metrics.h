// The gRPC metrics of etcd's server: calls started, handled and how long they took, messages and bytes. And
// which bounds of connections acted: a counter each (quoin_grpc_bounds_total), and a line in the log, at most
// one a second for each bound.
//
// Threads: any; cells are found by the method's index. Source: spec operations 5 (grpc_server_*,
// etcd_network_client_grpc_*).
#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "grpc/call.h"
#include "io/clock.h"

namespace quoin::v3rpc {

// "PermissionDenied".
std::string_view code_name(GrpcStatus status);

class GrpcMetrics final : public grpc::Probe {
 public:
  // Everything given outlives this. `call_seconds`: also how long calls take (--metrics=extensive).
  GrpcMetrics(metrics::Registry& registry, const io::Clock& clock, log::Logger& log, bool call_seconds);
  // Before serving: makes room for every method. All loops' tables have the same methods in the same order.
  // As in etcd, a method of Lock or Election is not among the series before its first call, each of them not
  // before it counts.
  void register_methods(const grpc::MethodTable& methods);

  void started(const grpc::Method& m) override;
  void handled(const grpc::Call& call, GrpcStatus status) override;
  void received(const grpc::Method& m, size_t bytes) override;
  void sent(const grpc::Method& m, size_t bytes) override;
  void bound_reached(grpc::Bound bound, std::string_view peer) override;

 private:
  static constexpr size_t kStatuses = 17;
  using Cell = std::atomic<metrics::Counter*>;  // null until the series is there
  struct Cells {
    metrics::Labels labels;
    Cell started{nullptr}, received{nullptr}, sent{nullptr};
    std::array<Cell, kStatuses> handled{};  // by status
    std::atomic<metrics::Histogram*> seconds{nullptr};
  };
  // The series' counter, which is made if it is not there.
  metrics::Counter& started_cell(Cells& cells);
  metrics::Counter& received_cell(Cells& cells);
  metrics::Counter& sent_cell(Cells& cells);
  metrics::Counter& handled_cell(Cells& cells, GrpcStatus status);
  metrics::Histogram& seconds_cell(Cells& cells);
  metrics::Registry& registry_;
  const io::Clock& clock_;
  log::Logger& log_;
  const bool call_seconds_;
  metrics::Counter& received_bytes_;
  metrics::Counter& sent_bytes_;
  std::vector<std::unique_ptr<Cells>> cells_;
  struct BoundCells {
    metrics::Counter* acted = nullptr;
    std::atomic<io::MonotonicNs> next_line{0};
  };
  std::array<BoundCells, grpc::kBounds> bounds_;
};

}  // namespace quoin::v3rpc
