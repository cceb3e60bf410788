// The part of the front that lives on one client loop: its connections, from their first bytes on, its
// services and its way into the member.
//
// Threads: confined to its loop, but for the constructor. Lifetime: everything given outlives it.
#pragma once
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "front/front.h"
#include "front/pages.h"
#include "grpc/transport.h"
#include "httpapi/gateway/gateway.h"
#include "v3rpc/rpc_metrics.h"
#include "v3rpc/services.h"

namespace quoin::front {

// What kind of listener a connection came from.
enum class Door : uint8_t { kClient, kClientGrpc, kClientHttp, kMetrics, kPeer };
// What its connections may speak.
struct Entrance {
  Door door;
  bool plain, tls;
};

class LoopFront {
 public:
  LoopFront(server::Member& member, const Options& options, io::Loop& loop, io::TimerService& timers,
            io::Clock& clock, log::Logger& log, v3rpc::RpcMetrics& metrics, grpc::Probe& probe,
            grpc::MemoryBudget& memory, uint64_t seed);
  ~LoopFront();

  server::ClientPort& port() { return port_; }
  io::Loop& loop() { return loop_; }
  const grpc::MethodTable& methods() const { return services_.methods(); }
  void set_endpoints(httpapi::Endpoints& endpoints);
  void set_peer_door(http1::Door* door) { peer_door_ = door; }

  void accepted(std::unique_ptr<io::Stream> stream, const Entrance& entrance);
  // Ends the connections of peers, or all others; those that come later are closed at once. `done` once
  // they are gone, at the latest after `deadline_ns`.
  void stop(bool peers, int64_t deadline_ns, Task done);

 private:
  class Connection;
  struct Side {  // clients and scrapes; peers
    std::list<std::unique_ptr<Connection>> connections;
    bool stopping = false;
    std::unique_ptr<io::Timer> deadline;
    Task stopped;
  };
  Side& side(Door door) { return sides_[door == Door::kPeer ? 1 : 0]; }
  const Tls& tls(Door door) const;
  // Of HTTP/2 connections; null where none is spoken.
  grpc::ServerContext* context(Door door, bool tls);
  bool refuses_common_names();
  httpapi::gateway::Gateway* gateway() { return gateway_ ? &*gateway_ : nullptr; }
  void finish_stop(Side& side);

  const Options& options_;
  io::Loop& loop_;
  io::TimerService& timers_;
  io::Clock& clock_;
  log::Logger& log_;
  grpc::CallTable calls_;
  server::ClientPort port_;
  v3rpc::Services services_;
  grpc::ServerContext context_;
  grpc::Probe& probe_;
  grpc::MemoryBudget& memory_;
  httpapi::Endpoints* endpoints_ = nullptr;
  std::optional<NameLookups> names_;
  std::optional<httpapi::gateway::Gateway> gateway_;  // of clients
  // HTTP/2 over TLS, which carries pages, too: with gRPC, and alone.
  std::optional<Http2Pages> client_pages_, metrics_pages_;
  grpc::ServerContext secure_context_, http_context_, metrics_context_;
  http1::Door* peer_door_ = nullptr;
  Side sides_[2];
};

}  // namespace quoin::front
