// What a client lives on: its loop, and how it reaches the world. All outlive it.
//
// Threads: everything of a client is confined to `loop`.
#pragma once
#include <functional>
#include <memory>

#include "io/clock.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/timer.h"
#include "tls/credentials.h"

namespace quoin::client {

struct Environment {
  io::Loop& loop;
  io::Network& network;
  io::TimerService& timers;
  io::Clock& clock;
};

struct Tls {
  // The newest credentials of the client role. Empty: endpoints of https cannot be reached.
  std::function<std::shared_ptr<const tls::Credentials>()> credentials;
  io::Executor* handshakes = nullptr;  // computes them; null: the loop does
};

// Of every connection.
struct ConnectionOptions {
  Tls tls;
  std::string user_agent = "quoin";
  size_t max_receive_bytes = INT32_MAX;        // a message
  uint32_t stream_window_bytes = 1 << 20;      // what a call on hold may still be sent
  int64_t dial_timeout_ns = 20 * io::kSecond;  // until the server's first frame
  // Pings after so long a silence of the server; 0: none. gRPC's client does not ask more often than every
  // ten seconds.
  int64_t keepalive_time_ns = 0;
  int64_t keepalive_timeout_ns = 20 * io::kSecond;
  bool keepalive_without_calls = false;
  static constexpr int64_t kKeepaliveMinNs = 10 * io::kSecond;
};

}  // namespace quoin::client
