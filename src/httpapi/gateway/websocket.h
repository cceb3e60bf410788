// A call through the gateway by WebSocket, as etcd's proxy in front of its gateway does it: each text message in is
// a value of the body, each line of the answer is a text message out (spec api-semantics 8.5).
//
// The upgraded connection is an exchange like any other: for the call nothing is different. The request it shows has
// method POST, and of the client's fields only Origin, Referer and the token, which comes in Sec-WebSocket-Protocol
// ("Bearer, <token>") or in a cookie.
//
// Threads: confined to the loop. Lifetime: the socket is kept by WebSockets until it is closed; the exchange may be
// dropped before, which closes it, or told by when_aborted() that the client has gone.
// Bounds: of a message only a piece is held; a client is not read from while kUnconsumedMax bytes are not consumed, a line
// of the answer is held until it is whole. At the end the rest of what was written may take kLingerNs.
#pragma once
#include <list>
#include <memory>

#include "http1/door.h"
#include "httpapi/http.h"
#include "io/timer.h"

namespace quoin::httpapi::gateway {

class WebSocket;

// Those of one loop.
class WebSockets {
 public:
  static constexpr size_t kUnconsumedMax = 256 << 10;
  static constexpr int64_t kLingerNs = 500'000'000;

  WebSockets(io::Loop& loop, io::TimerService& timers) : loop_(loop), timers_(timers) {}
  ~WebSockets();
  // Whether the request asks to become one.
  static bool asked(const http1::Request& request);
  // Upgrades the connection. Null: the request was answered instead.
  std::unique_ptr<http1::StreamExchange> accept(std::unique_ptr<http1::StreamExchange> exchange,
                                                const Headers& cors);
  // Closes all, without a word.
  void close_all();
  size_t open() const { return sockets_.size(); }

 private:
  friend class WebSocket;
  io::Loop& loop_;
  io::TimerService& timers_;
  std::list<std::shared_ptr<WebSocket>> sockets_;
  std::shared_ptr<WebSockets*> self_ = std::make_shared<WebSockets*>(this);
};

}  // namespace quoin::httpapi::gateway
