// The JSON gateway of one loop: requests below /v3/ become calls of the same services that gRPC reaches (spec
// api-semantics 8). etcd's gateway is a gRPC client of its own server; what clients see of that (metrics, deadlines,
// the texts of gRPC) is kept, the connection in between is not.
//
// Threads: confined to its loop. Lifetime: everything in Context outlives the gateway, the gateway outlives the
// connections that know it as their door.
// Bounds: of a request's body kBodyFactor times the longest message, which is what its bytes take as base64 with each
// character escaped; of an answer kUnsentMax bytes of text
// beyond what its client has taken, and the message it is made from, which counts in the memory budget like any
// answer. A stream's messages that its client does not read: as of gRPC, limits.stream_queue_bytes. When all
// connections together hold too much, a request that has grown beyond kHeldFloorBytes is refused (503). While more
// than kWorkAfterCalls calls of this loop that were given up are still worked for, new ones are refused, too.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>

#include "grpc/server_connection.h"
#include "grpc/turns.h"
#include "http1/door.h"
#include "httpapi/gateway/json_writer.h"
#include "httpapi/gateway/routes.h"
#include "httpapi/gateway/websocket.h"
#include "httpapi/httpapi.h"
#include "io/clock.h"
#include "io/loop.h"
#include "io/timer.h"

namespace quoin::httpapi::gateway {

class GatewayCall;

struct Context {
  const Endpoints& endpoints;
  const grpc::MethodTable& methods;
  grpc::CallTable& calls;  // of this loop
  grpc::Probe& probe;
  grpc::MemoryBudget& memory;
  grpc::Turns& turns;
  io::Loop& loop;
  io::TimerService& timers;
  io::Clock& clock;
  grpc::ConnectionLimits limits;
  // Whether a client certificate with a common name must not come (client certificates and auth are on): it would not be
  // used, as gRPC would use it.
  std::function<bool()> refuses_common_names;
};

class Gateway final : public http1::StreamDoor {
 public:
  static constexpr size_t kBodyFactor = 8;
  static constexpr size_t kUnsentMax = 256 << 10;
  static constexpr size_t kHeldFloorBytes = 256 << 10;

  explicit Gateway(Context context);
  ~Gateway() override;

  // ---- http1::StreamDoor ----
  bool serves(std::string_view path) const override { return Endpoints::below_v3(path); }
  void on_request(std::unique_ptr<http1::StreamExchange> exchange) override;

  // ---- for the calls ----
  const Context& context() const { return context_; }
  const std::shared_ptr<std::atomic<int64_t>>& left_behind() const { return left_behind_; }
  // The call is over, and its answer given. It is destroyed in a task of its own.
  void remove(GatewayCall& call);
  // Those that were upgraded are connections of nobody else: closes them.
  void close_websockets() { websockets_.close_all(); }
  size_t calls() const { return calls_.size(); }
  size_t body_bytes_max() const { return kBodyFactor * context_.limits.max_received_message_bytes; }

 private:
  void begin(std::unique_ptr<http1::StreamExchange> exchange, const Route& route, Headers cors);

  const Context context_;
  WebSockets websockets_;
  std::list<std::unique_ptr<GatewayCall>> calls_;
  // Cancelled calls for which something is still done.
  const std::shared_ptr<std::atomic<int64_t>> left_behind_ = std::make_shared<std::atomic<int64_t>>(0);
  std::shared_ptr<Gateway*> self_;
};

// ---- answers ----
unsigned http_status(GrpcStatus status);
// {"code":5,"message":"Not Found"}
std::string error_json(GrpcStatus status, std::string_view text, Escapes escapes);
Response error_answer(const Headers& cors, GrpcStatus status, std::string_view text);
// With the length named where Go's server knows it.
void give_answer(http1::StreamExchange& exchange, Response response);

}  // namespace quoin::httpapi::gateway
