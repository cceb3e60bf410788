// The member's face: listeners, connections and which protocol each speaks.
//
// A plain connection is told by its first bytes: the HTTP/2 preface leads to gRPC, anything else to HTTP/1.1. On an address
// that speaks TLS, too, whatever begins as a TLS record does is TLS. There the protocol agreed in the handshake decides,
// and HTTP/2 carries the pages as well as gRPC.
// One LoopFront a loop, of clients or peers, owns its connections, services and way into the member.
//
// Order, as etcd has it: bind_peers(), bind_clients() before anything of the data directory is touched
// (whoever connects waits in the system's queue); attach() once there is a member; serve_peers() and
// serve_metrics() when it runs; serve_clients() when it is ready. The end: stop_clients(), the member's own,
// stop_peers().
//
// Threads: Front on the thread that owns it; a LoopFront on its loop.
// Bounds: a connection that has not told its protocol after kFirstBytesTimeoutNs is closed; request and
// answer bytes of all gRPC connections share one budget; Options::connections_max connections a client
// listener. Source: design.md section 1 (Front), spec api-semantics 1.2, operations 2.1, 2.6, 3.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "front/front_tls.h"
#include "front/http1_transport.h"
#include "grpc/server_connection.h"
#include "httpapi/httpapi.h"
#include "io/clock.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/timer.h"
#include "server/member.h"
#include "v3rpc/limits.h"

namespace quoin::front {

struct Address : io::ListenAddress {
  bool plain = true;
  bool tls = false;
};

struct Options {
  std::vector<Address> peer;
  // Owns the connections of peers, so that they never queue behind clients. Null: the clients' loops do.
  io::Loop* peer_loop = nullptr;
  std::vector<Address> client;
  std::vector<Address> client_http;  // not empty: client addresses speak gRPC alone
  std::vector<Address> metrics;
  // Of addresses with `tls`; those of metrics use the clients'.
  Tls client_tls, peer_tls, metrics_tls;
  // For Tls::check_san; they outlive the front.
  io::Resolver* resolver = nullptr;
  io::Executor* lookups = nullptr;
  size_t connections_max = 0;  // open at a time, for each client listener; more wait unaccepted. 0: no bound
  grpc::ConnectionLimits limits;
  v3rpc::Limits services;
  size_t held_bytes_all = 1u << 30;  // request and answer bytes of all connections
  // A peer's connection that is silent for so long is closed.
  int64_t peer_silence_ns = 5 * io::kSecond;
  // As is that of one who takes nothing of an answer for so long.
  int64_t peer_answer_ns = 5 * io::kSecond;
  bool call_seconds = false;  // --metrics=extensive: how long calls take
  httpapi::Options http;
  bool gateway = true;  // the JSON gateway (--enable-grpc-gateway)
  uint64_t seed = 0;
};

class Front {
 public:
  // Go's bound for a request's head, which nothing shorter comes before.
  static constexpr int64_t kFirstBytesTimeoutNs = Http1Times::kRequestNs;

  // Everything given outlives the front.
  Front(Options options, std::vector<io::Loop*> loops, io::Network& network, io::TimerService& timers,
        io::Clock& clock, log::Logger& log, metrics::Registry& metrics);
  ~Front();

  // kIo with Go's text ("listen tcp 127.0.0.1:2379: bind: address already in use"). The caller then
  // calls close_listeners().
  Result<> bind_peers();
  Result<> bind_clients();
  void close_listeners();

  // `member` outlives the front.
  void attach(server::Member& member);
  // Takes the requests of peers that it serves (http1/door.h), on the loops of their connections. Between attach() and
  // serve_peers(); it outlives the front. stop_peers() does not see the connections that it took over.
  void set_peer_door(http1::Door& door);
  void serve_peers();
  // Binds too: etcd does not try these addresses earlier.
  Result<> serve_metrics();
  void serve_clients();

  // Stops accepting clients and scrapes and gives calls in progress until `deadline_ns` from now; then cuts
  // them. `done` runs on the first loop once every such connection is gone.
  void stop_clients(int64_t deadline_ns, Task done);
  void stop_peers(int64_t deadline_ns, Task done);

  // As bound ("127.0.0.1:2379", "[::]:2379", unix paths), for the log.
  struct ClientDoor {
    std::string address;
    std::string_view traffic;  // "grpc+http", "grpc" or "http"
    bool plain, tls;
  };
  std::vector<ClientDoor> client_doors() const;
  std::vector<std::string> peer_addresses() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quoin::front
