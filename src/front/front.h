// The member's face: listeners, connections and which protocol each speaks.
//
// A plain connection is told by its first bytes: the HTTP/2 preface leads to gRPC, anything else to HTTP/1.1.
// One LoopFront a client loop owns its connections, services and way into the member.
//
// Threads: Front on the thread that owns it; a LoopFront on its loop.
// Bounds: a connection that has not told its protocol after kPrefaceTimeout is closed; request and answer
// bytes of all gRPC connections share one budget.
// Source: design.md section 1 (Front), spec api-semantics 1.2, operations 3.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "grpc/server_connection.h"
#include "httpapi/httpapi.h"
#include "io/clock.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/timer.h"
#include "server/member.h"

namespace quoin::front {

struct Options {
  std::vector<io::ListenAddress> client;
  std::vector<io::ListenAddress> client_http;  // not empty: client addresses speak gRPC alone
  std::vector<io::ListenAddress> metrics;
  grpc::ConnectionLimits limits;
  size_t held_bytes_all = 1u << 30;  // request and answer bytes of all connections
  httpapi::Options http;
  uint64_t seed = 0;
};

class LoopFront;

class Front {
 public:
  static constexpr int64_t kPrefaceTimeoutNs = 10 * io::kSecond;

  // Everything given outlives the front.
  Front(server::Member& member, Options options, std::vector<io::Loop*> loops, io::Network& network,
        io::TimerService& timers, io::Clock& clock, log::Logger& log, metrics::Registry& metrics);
  ~Front();

  // Binds all addresses; connections queue but get no bytes before serve().
  Result<> listen();
  // Accepts from now on.
  void serve();
  // Stops accepting and gives calls in progress until `deadline_ns` from now; then cuts them. `done` runs on
  // the first loop once every connection is gone.
  void stop(int64_t deadline_ns, Task done);

  // As bound ("127.0.0.1:2379", unix paths), for the log.
  std::vector<std::string> client_addresses() const;
  std::vector<std::string> metrics_addresses() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quoin::front
