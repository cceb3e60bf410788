// The proxy without its process: services, pages, and the connections that bring calls and requests to them.
//
// A connection is told by its first bytes, after its TLS handshake where the address is secure: HTTP/2
// carries gRPC alone, HTTP/1.1 the pages (pages.h).
//
// Threads: one loop, but for the constructor. Lifetime: everything given outlives it, and it outlives the
// loop's tasks; the process ends with it.
// Bounds: as those of a member's connections (grpc/server_connection.h); the number of connections is the
// listener's.
#pragma once
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "cmd/grpcproxy/cluster.h"
#include "cmd/grpcproxy/forward.h"
#include "cmd/grpcproxy/kv.h"
#include "cmd/grpcproxy/lease.h"
#include "cmd/grpcproxy/pages.h"
#include "cmd/grpcproxy/watch.h"
#include "front/front_tls.h"
#include "grpc/server_connection.h"
#include "httpapi/httpapi.h"
#include "v3rpc/grpc_metrics.h"

namespace quoin::cmd::grpcproxy {

struct ServerOptions {
  grpc::ConnectionLimits limits;
  size_t held_bytes_all = 1u << 30;  // request and answer bytes of all connections
  std::string prefix;                // --namespace
  ClusterOptions cluster;
  Pages::Options pages;
  front::Tls tls;  // of addresses that are secure
};

class Server {
 public:
  static constexpr int64_t kFirstBytesNs = 300 * io::kSecond;
  enum class Door : uint8_t { kClient, kMetrics };

  Server(ServerOptions options, const client::Environment& env, client::Client& client, log::Logger& log,
         metrics::Registry& registry);
  ~Server();
  // Registers with --resolver-prefix.
  void start();
  // The pages are served from now on.
  void ready(client::Client* own) { pages_.ready(own); }
  void accepted(std::unique_ptr<io::Stream> stream, Door door, bool tls);
  const grpc::MethodTable& methods() const { return methods_; }

 private:
  class Connection;
  struct NoHealth;

  const ServerOptions options_;
  const client::Environment env_;
  log::Logger& log_;
  grpc::MethodTable methods_;
  grpc::CallTable calls_;
  grpc::Turns turns_;
  v3rpc::GrpcMetrics probe_;
  grpc::MemoryBudget memory_;
  Metrics metrics_;
  Context context_;
  Kv kv_;
  WatchProxy watch_;
  Cluster cluster_;
  LeaseProxy lease_;
  Forwards forwards_;
  Pages pages_;
  std::unique_ptr<NoHealth> no_health_;
  std::optional<httpapi::Endpoints> endpoints_;  // what the transport asks for; the pages take everything
  grpc::ServerContext server_context_, secure_context_;
  std::list<std::unique_ptr<Connection>> connections_;
};

}  // namespace quoin::cmd::grpcproxy
