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

metrics::Counter& GrpcMetrics::started_cell(Cells& cells) {
  metrics::Counter* cell = cells.started.load(std::memory_order_acquire);
  if (cell != nullptr) [[likely]]
    return *cell;
  // Whoever else makes it at this moment is given the same one.
  cell = &registry_.counter("grpc_server_started_total", "Total number of RPCs started on the server.",
                            cells.labels);
  cells.started.store(cell, std::memory_order_release);
  return *cell;
}

metrics::Counter& GrpcMetrics::received_cell(Cells& cells) {
  metrics::Counter* cell = cells.received.load(std::memory_order_acquire);
  if (cell != nullptr) [[likely]]
    return *cell;
  cell = &registry_.counter("grpc_server_msg_received_total",
                            "Total number of RPC stream messages received on the server.", cells.labels);
  cells.received.store(cell, std::memory_order_release);
  return *cell;
}

metrics::Counter& GrpcMetrics::sent_cell(Cells& cells) {
  metrics::Counter* cell = cells.sent.load(std::memory_order_acquire);
  if (cell != nullptr) [[likely]]
    return *cell;
  cell = &registry_.counter("grpc_server_msg_sent_total",
                            "Total number of gRPC stream messages sent by the server.", cells.labels);
  cells.sent.store(cell, std::memory_order_release);
  return *cell;
}

metrics::Counter& GrpcMetrics::handled_cell(Cells& cells, GrpcStatus status) {
  const auto code = static_cast<size_t>(status);
  metrics::Counter* cell = cells.handled[code].load(std::memory_order_acquire);
  if (cell != nullptr) [[likely]]
    return *cell;
  metrics::Labels labels = cells.labels;
  labels.insert(labels.begin(), {"grpc_code", std::string(kCodeNames[code])});
  cell = &registry_.counter("grpc_server_handled_total",
                            "Total number of RPCs completed on the server, regardless of success or failure.",
                            std::move(labels));
  cells.handled[code].store(cell, std::memory_order_release);
  return *cell;
}

metrics::Histogram& GrpcMetrics::seconds_cell(Cells& cells) {
  metrics::Histogram* cell = cells.seconds.load(std::memory_order_acquire);
  if (cell != nullptr) [[likely]]
    return *cell;
  cell = &registry_.histogram("grpc_server_handling_seconds",
                              "Histogram of response latency (seconds) of gRPC that had been "
                              "application-level handled by the server.",
                              {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}, cells.labels);
  cells.seconds.store(cell, std::memory_order_release);
  return *cell;
}

void GrpcMetrics::register_methods(const grpc::MethodTable& methods) {
  for (const grpc::Method& m : methods.methods()) {
    CHECK_EQ(cells_.size(), m.index);
    Cells& cells = *cells_.emplace_back(std::make_unique<Cells>());
    cells.labels = labels(m);
    if (m.service == "v3lockpb.Lock" || m.service == "v3electionpb.Election") continue;
    started_cell(cells);
    received_cell(cells);
    sent_cell(cells);
    for (size_t code = 0; code < kStatuses; ++code) handled_cell(cells, static_cast<GrpcStatus>(code));
    if (call_seconds_) seconds_cell(cells);
  }
}

void GrpcMetrics::started(const grpc::Method& m) {
  started_cell(*cells_[m.index]).inc();
}

void GrpcMetrics::handled(const grpc::Call& call, GrpcStatus status) {
  Cells& cells = *cells_[call.method().index];
  handled_cell(cells, status).inc();
  // A handler of one answer has sent something, whatever it was.
  if (status != GrpcStatus::kOk && call.method().kind == grpc::MethodKind::kUnary) sent_cell(cells).inc();
  if (call_seconds_) {
    seconds_cell(cells).observe(static_cast<double>(clock_.monotonic() - call.started()) / 1e9);
  }
}

void GrpcMetrics::received(const grpc::Method& m, size_t bytes) {
  received_cell(*cells_[m.index]).inc();
  received_bytes_.inc(bytes);
}

void GrpcMetrics::sent(const grpc::Method& m, size_t bytes) {
  sent_cell(*cells_[m.index]).inc();
  sent_bytes_.inc(bytes);
}

}  // namespace quoin::v3rpc
