// KV behind the cache (range_cache.h) and with the namespace (key_prefix.h).
//
// Threads: the proxy's loop. Source: etcd's server/proxy/grpcproxy/kv.go.
#pragma once
#include <memory>

#include "cmd/grpcproxy/context.h"
#include "grpc/method_table.h"

namespace quoin::cmd::grpcproxy {

class Kv {
 public:
  Kv(Context& context, grpc::MethodTable& methods);
  ~Kv();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quoin::cmd::grpcproxy
