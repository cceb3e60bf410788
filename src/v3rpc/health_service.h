// grpc.health.v1.Health on one loop: Check, List, Watch.
//
// The only service known is "" (the whole member), SERVING while gRPC serves; any other name is unknown.
// Threads: confined to its loop. Source: spec api-semantics 1.5.
#pragma once
#include "grpc/method_table.h"
#include "v3rpc/gate.h"

namespace quoin::v3rpc {

class HealthService final : public grpc::StreamHandler {
 public:
  HealthService(Loop& loop, Gate& gate, grpc::MethodTable& methods);
  std::unique_ptr<grpc::StreamListener> open(grpc::Call& call) override;  // Watch

 private:
  class Watch;
  Loop& loop_;
  Gate& gate_;
  Unary check_, list_;
};

}  // namespace quoin::v3rpc
