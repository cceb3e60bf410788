#include "v3rpc/grpc_metrics.h"

namespace quoin::v3rpc {

namespace {
constexpr std::string_view kCodeNames[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

metrics::Labels labels(const grpc::Method& m) {
  return {{"grpc_method", m.name},
          {"grpc_service", m.service},
          {"grpc_type", std::string(grpc::method_kind_name(m.kind))}};
}
}  // namespace

std::string_view code_name(GrpcStatus status) {
  return kCodeNames[static_cast<size_t>(status)];
}

GrpcMetrics::GrpcMetrics(metrics::Registry& registry, const io::Clock& clock, log::Logger& log,
                         bool call_seconds)
    : registry_(registry),
      clock_(clock),
      log_(log),
      call_seconds_(call_seconds),
      received_bytes_(registry.counter("etcd_network_client_grpc_received_bytes_total",
                                       "The total number of bytes received from grpc clients.")),
      sent_bytes_(registry.counter("etcd_network_client_grpc_sent_bytes_total",
                                   "The total number of bytes sent to grpc clients.")) {
  for (size_t i = 0; i < grpc::kBounds; ++i) {
    bounds_[i].acted =
        &registry.counter("quoin_grpc_bounds_total", "How often a bound of a client's gRPC connection acted.",
                          {{"bound", std::string(grpc::bound_name(static_cast<grpc::Bound>(i)))}});
  }
}

void GrpcMetrics::bound_reached(grpc::Bound bound, std::string_view peer) {
  BoundCells& cells = bounds_[static_cast<size_t>(bound)];
  cells.acted->inc();
  const io::MonotonicNs now = clock_.monotonic();
  io::MonotonicNs next = cells.next_line.load(std::memory_order_relaxed);
  if (now < next || !cells.next_line.compare_exchange_strong(next, now + io::kSecond)) return;
  LOG(log_, kWarn, "a bound of a client connection acts", {"bound", grpc::bound_name(bound)},
      {"remote-addr", peer}, {"times", cells.acted->value()});
}

void GrpcMetrics::register_methods(const grpc::MethodTable& methods) {
  for (const grpc::Method& m : methods.methods()) {
    auto cells = std::make_unique<Cells>();
    cells->started = &registry_.counter("grpc_server_started_total",
                                        "Total number of RPCs started on the server.", labels(m));
    cells->received =
        &registry_.counter("grpc_server_msg_received_total",
                           "Total number of RPC stream messages received on the server.", labels(m));
    cells->sent = &registry_.counter("grpc_server_msg_sent_total",
                                     "Total number of gRPC stream messages sent by the server.", labels(m));
    for (size_t code = 0; code < kStatuses; ++code) {
      metrics::Labels l = labels(m);
      l.insert(l.begin(), {"grpc_code", std::string(kCodeNames[code])});
      cells->handled[code] = &registry_.counter(
          "grpc_server_handled_total",
          "Total number of RPCs completed on the server, regardless of success or failure.", std::move(l));
    }
    if (call_seconds_) {
      cells->seconds =
          &registry_.histogram("grpc_server_handling_seconds",
                               "Histogram of response latency (seconds) of gRPC that had been "
                               "application-level handled by the server.",
                               {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}, labels(m));
    }
    CHECK_EQ(cells_.size(), m.index);
    cells_.push_back(std::move(cells));
  }
}

void GrpcMetrics::started(const grpc::Method& m) {
  cells_[m.index]->started->inc();
}

void GrpcMetrics::handled(const grpc::Call& call, GrpcStatus status) {
  const Cells& cells = *cells_[call.method().index];
  cells.handled[static_cast<size_t>(status)]->inc();
  // A handler of one answer has sent something, whatever it was.
  if (status != GrpcStatus::kOk && call.method().kind == grpc::MethodKind::kUnary) cells.sent->inc();
  if (cells.seconds != nullptr) {
    cells.seconds->observe(static_cast<double>(clock_.monotonic() - call.started()) / 1e9);
  }
}

void GrpcMetrics::received(const grpc::Method& m, size_t bytes) {
  cells_[m.index]->received->inc();
  received_bytes_.inc(bytes);
}

void GrpcMetrics::sent(const grpc::Method& m, size_t bytes) {
  cells_[m.index]->sent->inc();
  sent_bytes_.inc(bytes);
}

}  // namespace quoin::v3rpc
