// The server side of one gRPC connection, without a socket: bytes in, calls to the services of a MethodTable,
// bytes out. Exact behaviour: spec api-semantics 1.1, 1.2, 1.8.
//
// Threads: confined to its loop. Time is passed in.
// Lifetime: table, calls and probe outlive the connection. Destroying it cancels open calls
// (kConnectionLost). Re-entrance: services may answer calls from within their handlers; feed(), produce(),
// tick() and close() must not be called from there. The owner calls produce() after feed(), tick() and
// whenever `notify` fired.
//
// Bounds. Each has a name (grpc::Bound) and tells Probe::bound_reached() when it acts; all bytes count in the
// bound of all connections together too (MemoryBudget). What they hold is charged when it arrives.
//   requests  bytes of messages under way and of requests of calls in progress: request_bytes. Above it the
//             windows of messages under way stop growing, except the oldest's, and while there are complete
//             requests to wait for, the connection's window too. At four times that (and a window) the
//             youngest unfinished ones are refused with REFUSED_STREAM, which clients retry. A message longer
//             than the initial window gets a window of its length if such windows fit the bound.
//   answers   bytes of unary answers not yet sent: answer_bytes. Above it a complete request waits, in order,
//             before its service sees it; kCallsAlwaysServed calls never wait. Streams bound themselves
//             (Call::writable()).
//             Of requests without gRPC at most kHttpStreams are open, answers that are not read included; more are
//             refused with REFUSED_STREAM, which clients retry.
//   headers   of all calls: header_bytes. A call whose metadata does not fit fails with code 8 alone; metadata
//             of kHeadersAlwaysTaken bytes always fits, as a stream costs about that much anyway.
//   work      what is still done for cancelled calls (Call::work()): above kWorkAfterCalls such calls
//             blocked() is true until there are less. Well below the 5,000 entries at which the member
//             refuses everybody's proposals: one client that gives up its Puts at once does not get there.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "grpc/call.h"
#include "grpc/http_handler.h"
#include "grpc/method_table.h"
#include "http2/session.h"
#include "io/clock.h"

namespace quoin::grpc {

class Turns;

// Request and answer bytes held by all connections of the process. Thread-safe.
class MemoryBudget {
 public:
  explicit MemoryBudget(size_t limit_bytes) : limit_(limit_bytes) {}
  void add(int64_t delta) { used_.fetch_add(delta, std::memory_order_relaxed); }
  size_t used() const {
    const int64_t v = used_.load(std::memory_order_relaxed);
    return v > 0 ? static_cast<size_t>(v) : 0;
  }
  bool exceeded() const { return used() > limit_; }

 private:
  const size_t limit_;
  std::atomic<int64_t> used_{0};
};

struct ConnectionLimits {
  size_t max_received_message_bytes = 1'572'864 + 524'288;  // --max-request-bytes + gRPC's overhead
  uint32_t max_concurrent_streams = UINT32_MAX;             // --max-concurrent-streams
  size_t request_bytes = 16 << 20;                          // held by one connection; at least two messages
  size_t answer_bytes = 64 << 20;                           // not yet sent on one connection
  size_t header_bytes = 16 << 20;                           // of all calls of one connection
  size_t stream_queue_bytes = 256 << 10;                    // above it a stream is not writable()

  // Keepalive enforcement (--grpc-keepalive-min-time; <= 0: gRPC's own five minutes). Where gRPC shares an address with
  // HTTP over TLS, Go's HTTP/2 server takes pings as they come.
  bool counts_pings = true;
  int64_t keepalive_min_time_ns = 5 * io::kSecond;
  // Pings of ours (--grpc-keepalive-interval, --grpc-keepalive-timeout); an interval <= 0 sends none.
  int64_t keepalive_interval_ns = 7'200 * io::kSecond;
  int64_t keepalive_timeout_ns = 20 * io::kSecond;
};

// Who is at the other end.
struct PeerInfo {
  std::string address;
  std::optional<std::string> tls_common_name;  // of a verified certificate
};

// What several connections share.
struct ServerContext {
  const MethodTable& methods;
  CallTable& calls;  // of this loop
  Probe& probe;
  MemoryBudget& memory;
  ConnectionLimits limits;
  Turns* turns = nullptr;       // of this loop; only a ServerTransport asks for it
  HttpHandler* http = nullptr;  // requests without gRPC; null: they get 415
  bool serves_grpc = true;      // false: all requests go to `http`
};

class ServerConnection {
 public:
  // Called when a call was answered outside feed() and tick(), so that there is output.
  class Notify {
   public:
    virtual ~Notify() = default;
    virtual void output_ready() = 0;
  };

  static constexpr size_t kHeadersAlwaysTaken = 4096;
  static constexpr size_t kCallsAlwaysServed = 128;
  static constexpr size_t kHttpStreams = 128;
  static constexpr size_t kWorkAfterCalls = 1'000;
  static constexpr size_t kCodingCalls = 16;
  static constexpr int64_t kDrainPingNs = 5 * io::kSecond;

  ServerConnection(ServerContext& context, PeerInfo peer, Notify& notify, io::MonotonicNs now);
  ~ServerConnection();

  // All bytes are taken. While unfed() is true the work on them is not done and feed({}) goes on with it, in
  // another round of the loop. An error means: produce() once more, write that, close the transport.
  Result<> feed(std::string_view bytes, io::MonotonicNs now);
  bool unfed() const;
  // Appends output until `out` holds `limit` bytes or nothing is left.
  Result<> produce(http2::ByteQueue& out, size_t limit);
  bool wants_write() const;
  // While coding() is true, messages wait to be compressed or decompressed: code() does one step of that, less
  // than a millisecond, in another round of the loop. produce() must follow.
  bool coding() const;
  // More than kCodingCalls calls have such messages: nothing more should be fed or read until there are
  // fewer.
  bool coding_full() const;
  void code(io::MonotonicNs now);
  // The client gave a sign of life other than bytes for feed(): it read some of the output.
  void heard(io::MonotonicNs now);

  // When tick() is due next (deadlines, keepalive); kNoDeadline for never. Calling it early is harmless.
  io::MonotonicNs next_tick() const;
  // kStopped: the client did not answer a keepalive ping; close the transport.
  Result<> tick(io::MonotonicNs now);

  // Graceful stop: GOAWAY, no new streams; done() once all calls are over and the output is taken. The last
  // stream id is named when the client has acknowledged a ping, at the latest after kDrainPingNs.
  void shutdown(io::MonotonicNs now);
  bool done() const;
  // Ends all calls now; nothing is sent for them. The transport closes.
  void close(CancelReason reason);

  size_t calls_in_progress() const;
  // Headers and requests held, and answers not yet sent.
  size_t held_bytes() const;
  // So much is left to be done for calls that are over that nothing should be read. Changes by itself.
  bool blocked() const;
  // For the transport: tells the probe.
  void bound_reached(Bound bound);

  class Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace quoin::grpc
