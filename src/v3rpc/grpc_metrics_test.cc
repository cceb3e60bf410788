#include "v3rpc/grpc_metrics.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace quoin::v3rpc {
namespace {

struct HandClock final : io::Clock {
  io::MonotonicNs now = io::kSecond;
  io::MonotonicNs monotonic() const override { return now; }
  io::WallNs wall() const override { return now; }
};
struct Lines final : log::Logger {
  std::vector<std::string> lines;
  bool enabled(log::Level) const override { return true; }
  void log(const log::Event& e) override {
    std::string line(e.message);
    for (const log::Field& f : e.fields) {
      if (const auto* text = std::get_if<std::string_view>(&f.value)) line.append(" ").append(*text);
    }
    lines.push_back(line);
  }
};

TEST(GrpcMetrics, BoundsAreCountedAndToldOnceASecond) {
  metrics::Registry registry;
  HandClock clock;
  Lines log;
  GrpcMetrics probe(registry, clock, log, false);
  for (int i = 0; i < 100; ++i) probe.bound_reached(grpc::Bound::kOutput, "1.2.3.4:5");
  probe.bound_reached(grpc::Bound::kHeaders, "1.2.3.4:6");
  clock.now += io::kSecond;
  probe.bound_reached(grpc::Bound::kOutput, "1.2.3.4:7");
  EXPECT_EQ(log.lines, (std::vector<std::string>{"a bound of a client connection acts output 1.2.3.4:5",
                                                 "a bound of a client connection acts headers 1.2.3.4:6",
                                                 "a bound of a client connection acts output 1.2.3.4:7"}));
  size_t cells = 0;
  registry.visit([&](const metrics::Family& f) {
    if (f.name != "quoin_grpc_bounds_total") return;
    for (const metrics::Cell& c : f.cells) {
      ++cells;
      const uint64_t n = std::get<const metrics::Counter*>(c.source)->value();
      const std::string& bound = c.labels.at(0).second;
      EXPECT_EQ(n, bound == "output" ? 101u : bound == "headers" ? 1u : 0u) << bound;
    }
  });
  EXPECT_EQ(cells, grpc::kBounds);
}

struct NoHandler final : grpc::UnaryHandler {
  void call(grpc::Call&, std::string_view) override {}
};

// The series of a method are there from the start; of Lock and Election, as in etcd, once they count.
TEST(GrpcMetrics, SeriesOfLocksBeginWithTheirFirstCall) {
  metrics::Registry registry;
  HandClock clock;
  Lines log;
  GrpcMetrics probe(registry, clock, log, true);
  NoHandler handler;
  grpc::MethodTable methods;
  methods.add_unary("etcdserverpb.KV", "Put", handler);
  methods.add_unary("v3lockpb.Lock", "Lock", handler);
  methods.add_unary("v3electionpb.Election", "Leader", handler);
  probe.register_methods(methods);
  const auto series = [&](std::string_view method) {
    size_t n = 0;
    registry.visit([&](const metrics::Family& f) {
      for (const metrics::Cell& c : f.cells) {
        for (const auto& [key, value] : c.labels) n += key == "grpc_method" && value == method;
      }
    });
    return n;
  };
  EXPECT_EQ(series("Put"), 3 + 17 + 1u);
  EXPECT_EQ(series("Lock"), 0u);
  probe.started(methods.methods()[1]);
  EXPECT_EQ(series("Lock"), 1u);
  probe.received(methods.methods()[1], 5);
  probe.received(methods.methods()[1], 5);
  EXPECT_EQ(series("Lock"), 2u);
  EXPECT_EQ(series("Leader"), 0u);
  EXPECT_EQ(series("Put"), 3 + 17 + 1u);
}

}  // namespace
}  // namespace quoin::v3rpc
