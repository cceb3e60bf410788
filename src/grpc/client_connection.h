// The client side of one gRPC connection, without a socket: for tests, benchmarks, and our own client.
//
// Threads: confined to its owner. Time is passed in.
// Lifetime: a listener must live until its on_end(), or until the connection is destroyed (no event then).
// Re-entrance: listeners may start, feed and cancel calls; they must not call feed() or produce().
// Bounds: what is sent and not yet taken by the peer waits in memory: queued_bytes() tells how much. What is
// received is handed on at once, so windows are given back at once; a message is at most
// Options::max_message_bytes.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "http2/session.h"
#include "io/clock.h"

namespace quoin::grpc {

class ClientListener {
 public:
  virtual ~ClientListener() = default;
  // `message` lives during the call.
  virtual void on_message(http2::StreamId call, std::string_view message) = 0;
  // The last event. Without a status from the server: kUnavailable (connection), kCanceled, kInternal.
  virtual void on_end(http2::StreamId call, GrpcStatus status, std::string_view text) = 0;
};

class ClientConnection {
 public:
  struct Options {
    std::string authority = "localhost";
    std::string user_agent = "quoin";
    size_t max_message_bytes = INT32_MAX;
    uint32_t first_window_bytes = 65'535;  // of a stream whose response has not begun
    uint32_t stream_window_bytes = 1 << 20;
    uint32_t connection_window_bytes = 16 << 20;
  };
  struct CallOptions {
    int64_t timeout_ns = 0;  // grpc-timeout; 0: none. The server enforces it.
    std::vector<std::pair<std::string, std::string>> metadata;  // names in lower case
    bool gzip = false;
  };

  explicit ClientConnection(Options options);
  ~ClientConnection();

  Result<> feed(std::string_view bytes, io::MonotonicNs now);
  Result<> produce(http2::ByteQueue& out, size_t limit);
  bool wants_write() const;

  // Opens a call; messages follow by send(). kStopped after a GOAWAY.
  Result<http2::StreamId> open(std::string_view path, ClientListener& listener, const CallOptions& options);
  // A call with one message, half-closed at once.
  Result<http2::StreamId> unary(std::string_view path, std::string_view request, ClientListener& listener,
                                const CallOptions& options);
  // Calls that are over are ignored.
  void send(http2::StreamId call, std::string_view message);
  void half_close(http2::StreamId call);
  void cancel(http2::StreamId call);  // on_end(kCanceled) follows from produce()

  void ping(uint64_t payload);
  size_t queued_bytes() const;
  size_t open_calls() const;
  // A GOAWAY came; its code and text.
  bool going_away() const;
  std::string_view goaway_text() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quoin::grpc
