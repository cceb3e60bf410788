// One connection of a client to the member: gRPC over a simulated stream, slow at times, and cut at times.
//
// What is sent waits for the connection; if it can't be made or ends, every open call of it ends with
// kUnavailable. A cancelled call ends at once with kCanceled, and nothing of it is told any more. A client that
// stops reading takes no byte from its stream, so that its windows fill.
//
// Threads: the clients' loop. Lifetime: held by shared_ptr; what it posts keeps it alive. Handlers are called
// from tasks of the loop, never from within call(), cancel() or cut().
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/prng.h"
#include "grpc/client_connection.h"
#include "io/stream.h"
#include "scenarios/edges.h"
#include "sim/network.h"
#include "sim/world.h"

namespace quoin::scenarios {

// How quick a client is.
struct Pace {
  uint32_t window_bytes = 65'535;  // of a stream
  uint64_t pause_one_in = 20;      // pieces received, after which it takes nothing for a while
  int64_t pause_ns_max = 10'000'000;
};

class Client final : private io::StreamHandler,
                     private grpc::ClientListener,
                     public std::enable_shared_from_this<Client> {
 public:
  using CallId = uint64_t;
  struct Handler {
    std::function<void(std::string_view message)> message;
    std::function<void(GrpcStatus status, std::string_view text)> end;  // once, the last
  };
  struct CallOptions {
    int64_t timeout_ns = 0;  // 0: none
    bool half_close = true;  // nothing follows the first message
  };
  Client(sim::World& world, sim::SimHost& host, io::Loop& loop, const Pace& pace, uint64_t seed,
         Edges& edges);

  void connect(const io::ListenAddress& address);
  // `method`: "KV/Put".
  CallId call(std::string_view method, std::string_view request, Handler handler, const CallOptions& options);
  CallId call(std::string_view method, std::string_view request, Handler handler) {
    return call(method, request, std::move(handler), {});
  }
  void send(CallId call, std::string_view message);
  void half_close(CallId call);
  void cancel(CallId call);
  void cut();
  // Its process is gone: nothing is told any more.
  void drop();
  // Takes everything at once from now on; or no longer.
  void hurry(bool on);

  // New calls may be made.
  bool usable() const { return !over_ && !connection_.going_away(); }
  bool open(CallId call) const { return calls_.contains(call); }
  // Its open calls, for the report of a hang; empty: none.
  std::string describe() const;
  // A byte stream that makes no sense, or a call that ended as no call may; empty if all is well.
  const std::string& problem() const { return problem_; }

 private:
  struct Call {
    http2::StreamId stream = 0;
    std::string method;
    std::shared_ptr<Handler> handler;
    bool flushed = false;  // its request may have left
    bool told = false;     // a message came
    bool deadline = false;
  };
  void connected(Result<std::unique_ptr<io::Stream>> stream);
  void schedule_flush();
  void flush();
  void pause();
  void end(const std::string& why);
  std::map<CallId, Call>::iterator find(http2::StreamId stream);

  // ---- io::StreamHandler ----
  void on_data(std::string_view bytes) override;
  void on_eof() override;
  void on_drained() override { flush(); }
  void on_closed(Result<> error) override;
  // ---- grpc::ClientListener ----
  void on_message(http2::StreamId stream, std::string_view message) override;
  void on_end(http2::StreamId stream, GrpcStatus status, std::string_view text) override;

  sim::World& world_;
  sim::SimHost& host_;
  io::Loop& loop_;
  const Pace pace_;
  Prng prng_;
  Edges& edges_;
  grpc::ClientConnection connection_;
  std::unique_ptr<io::Connecting> connecting_;
  std::unique_ptr<io::Stream> stream_;
  std::map<CallId, Call> calls_;
  std::map<http2::StreamId, CallId> by_stream_;
  CallId next_call_ = 1;
  bool over_ = false, flush_scheduled_ = false, hurried_ = false, paused_ = false;
  uint64_t pauses_ = 0;  // numbers them: hurry() ends the one under way
  std::string problem_;
};

}  // namespace quoin::scenarios
