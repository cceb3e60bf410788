// The client side of one gRPC connection, without a socket: for tests, benchmarks, and our own client.
//
// Threads: confined to its owner. Time is passed in.
// Lifetime: a listener must live until its on_end(), or until the connection is destroyed (no event then).
// Re-entrance: listeners may start, feed and cancel calls; they must not call feed(), produce() or close().
// Bounds: what is sent and not yet taken by the peer waits in memory: queued_bytes() tells how much, of all
// calls and of one. What is received is handed on at once, and windows are given back at once but for calls
// on hold: of such a call one window (Options::stream_window_bytes) arrives at most. A message is at most
// Options::max_message_bytes.
// Source of codes and texts: grpc-go's http2_client.go and http_util.go.
#pragma once
#include <cstdint>
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
  // The last event. Without a status from the server: kUnavailable (connection), kCanceled, kInternal, or
  // what an answer that is not gRPC's means.
  virtual void on_end(http2::StreamId call, GrpcStatus status, std::string_view text) = 0;
  // Instead of on_end(): the server has not looked at the call (a stream above a GOAWAY's last, or refused),
  // which may be made again, whatever it is.
  virtual void on_refused(http2::StreamId call, std::string_view text) {
    on_end(call, GrpcStatus::kUnavailable, text);
  }
  // What send() left in the queue of this call fell to 0.
  virtual void on_sent(http2::StreamId) {}
};

class ClientConnection {
 public:
  struct Options {
    std::string authority = "localhost";
    std::string user_agent = "quoin";
    bool https = false;  // the :scheme
    size_t max_message_bytes = INT32_MAX;
    uint32_t first_window_bytes = 65'535;  // of a stream whose response has not begun
    uint32_t stream_window_bytes = 1 << 20;
    uint32_t connection_window_bytes = 16 << 20;
  };
  struct CallOptions {
    int64_t timeout_ns = 0;  // grpc-timeout; 0: none. The server enforces it.
    std::vector<std::pair<std::string, std::string>> metadata;  // names in lower case
    bool gzip = false;
    bool constant_path = false;  // the path lives as long as the connection
  };

  explicit ClientConnection(Options options);
  ~ClientConnection();

  Result<> feed(std::string_view bytes, io::MonotonicNs now);
  Result<> produce(http2::ByteQueue& out, size_t limit);
  bool wants_write() const;
  // The transport is gone: ends all calls with this status. Nothing but the destructor may follow.
  void close(GrpcStatus status, std::string_view text);

  // Opens a call; messages follow by send(). kStopped after a GOAWAY.
  Result<http2::StreamId> open(std::string_view path, ClientListener& listener, const CallOptions& options);
  // A call with one message, half-closed at once.
  Result<http2::StreamId> unary(std::string_view path, std::string_view request, ClientListener& listener,
                                const CallOptions& options);
  // Calls that are over are ignored.
  void send(http2::StreamId call, std::string_view message);
  void half_close(http2::StreamId call);
  void cancel(http2::StreamId call);  // on_end(kCanceled) follows from produce()
  // The same, and the listener, which may be gone, hears nothing more.
  void abandon(http2::StreamId call);
  // While a call is on hold the server is not told that its bytes were read.
  void hold(http2::StreamId call, bool on);

  void ping(uint64_t payload);
  size_t queued_bytes() const;
  size_t queued_bytes(http2::StreamId call) const;
  size_t open_calls() const;
  // A GOAWAY came; its code and text.
  bool going_away() const;
  std::string_view goaway_text() const;
  // The server's SETTINGS, the first of its frames, came.
  bool ready() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quoin::grpc
