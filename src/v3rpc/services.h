// All services of one client loop behind one method table.
//
// Threads: made and used on its loop (construction may happen before the loop serves).
#pragma once
#include <memory>

#include "grpc/method_table.h"
#include "v3rpc/gate.h"

namespace quoin::v3rpc {

class Services {
 public:
  // `loop` outlives the services; `seed` draws the jitter of watch progress.
  Services(Loop loop, uint64_t seed);
  ~Services();
  const grpc::MethodTable& methods() const;
  // Those of the loop, for its connections.
  grpc::Turns& turns();
  // Steps of long work that wait for their turn on the loop.
  size_t steps_waiting() const;
  // Calls that wait for the entry of their token to be applied.
  size_t callers_waiting() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quoin::v3rpc
