// A call through the gateway by WebSocket, as etcd's proxy in front of its gateway does it: each text message in is
// a value of the body, each line of the answer is a text message out (spec api-semantics 8.5).
//
// The upgraded connection is an exchange like any other: for the call nothing is different. The request it shows has
// method POST, and of the client's fields only Origin, Referer and the token, which comes in Sec-WebSocket-Protocol
// ("Bearer, <token>") or in a cookie.
//
// Threads: confined to the loop. Lifetime: the socket is kept by WebSockets until it is closed; the exchange may be
// dropped before, which closes it, or told by when_aborted() that the client has gone.
// Bounds: of a message, in or out, only a piece is held: a piece of the answer that does not end its line leaves
// as a fragment of the line's message. The writer of the answer looks at unsent_bytes(). Pongs are held back
// while something else waits for the client; they leave before the next piece of the answer, or when the client
// has taken all. A client is not read from while kUnconsumedMax bytes of it are not consumed, or kPongsMax bytes
// of pongs are held back. One read may go beyond either.
// Time: a client that takes no byte of what waits for it within kAnswerNs is closed without a word, as a client
// of POST is (front/http1_transport.h). An answer that is over still leaves, however slowly its client takes it.
// Behind the answer, and behind a close frame, the client has kLingerNs to close. Of what it sends from the end
// of the answer on, about kDiscardedMax bytes are read and thrown away.
#pragma once
#include <list>
#include <memory>

#include "http1/door.h"
#include "httpapi/http.h"
#include "io/clock.h"
#include "io/timer.h"

namespace quoin::httpapi::gateway {

class WebSocket;

// Those of one loop.
class WebSockets {
 public:
  static constexpr size_t kUnconsumedMax = 256 << 10;
  static constexpr size_t kPongsMax = 16 << 10;
  static constexpr size_t kDiscardedMax = 256 << 10;
  static constexpr int64_t kAnswerNs = 300 * io::kSecond;
  static constexpr int64_t kLingerNs = 500 * io::kMillisecond;

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
