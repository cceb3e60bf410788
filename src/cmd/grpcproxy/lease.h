// Lease: keepalives of all clients go over one stream to the members (one for each token), and those of one
// lease that wait at the same time over one request.
//
// Differences from etcd's proxy: a keepalive is passed on at once instead of every third of the lease's time,
// and a lease lives no longer than its client asks for, where etcd's proxy goes on for one more time.
//
// Bounds: a stream has kWaitingMax requests that wait; it is not read beyond.
// Threads: the proxy's loop. Source: etcd's server/proxy/grpcproxy/lease.go.
#pragma once
#include <memory>

#include "cmd/grpcproxy/context.h"
#include "grpc/method_table.h"

namespace quoin::cmd::grpcproxy {

class LeaseProxy {
 public:
  static constexpr size_t kWaitingMax = 1024;
  LeaseProxy(Context& context, grpc::MethodTable& methods);
  ~LeaseProxy();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quoin::cmd::grpcproxy
