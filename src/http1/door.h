// Where requests go whose body is not collected, or whose connection outlives HTTP: the peer protocol. The transport
// of a connection (front/http1_transport.h) opens an exchange for each such request when its head is there; whoever
// implements Door answers it, takes its body in pieces, or takes the connection over.
//
// Declared here, below everybody who needs it: peer implements it, front calls it, and neither may include the
// other.
//
// Threads: everything on the loop of the connection, Exchange::loop(). A door that is used by several loops looks
// there which one it is.
// Lifetime: the exchange belongs to the door. The connection may end first: when_aborted() tells, and nothing of the
// exchange does anything from then on. An exchange dropped without an answer closes the connection without a word,
// as a Go handler does that panics.
// Re-entrance: all methods may be called within Door::on_request and within the body's callbacks. The exchange may
// be dropped there too.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "http1/server_connection.h"
#include "io/stream.h"

namespace quoin::http1 {

// Takes the body of one request.
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  // A piece, which lives during the call. It counts against the bound of what is under way until
  // Exchange::consumed().
  virtual void on_body(std::string_view piece) = 0;
  // The body is whole.
  virtual void on_body_end() = 0;
  // It cannot become whole, and nothing more of it comes: kMalformed, kLimit ("http: request body too large"), kIo
  // "unexpected EOF". The request may still be answered; the connection ends after that.
  virtual void on_body_failed(Error error) = 0;
};

class Exchange {
 public:
  virtual ~Exchange() = default;
  // Lives as long as the exchange, unless the connection ends or is taken over. Its body is empty.
  virtual const Request& request() const = 0;
  virtual const std::string& peer_address() const = 0;  // "127.0.0.1:51234"
  virtual io::Loop& loop() = 0;
  // Runs once, when the connection has ended before the answer was whole. Within it only dropping the exchange
  // is allowed.
  virtual void when_aborted(Task task) = 0;

  // Asks for the body, of at most `bytes_max`; `Expect: 100-continue` is answered now and not earlier. Until this
  // is called nothing of the body is read. `reader` outlives the exchange. It may be called within this call.
  virtual void read_body(BodyReader& reader, uint64_t bytes_max) = 0;
  // So many bytes of the pieces handed out are done with. While Limits::body_window_bytes are not, the socket is
  // not read, and its silence counts for nothing.
  virtual void consumed(size_t bytes) = 0;

  // The whole answer, with Date. Ends the exchange. What is left of the request's body is thrown away if it is
  // known to be short (kDiscardedBodyMax), otherwise the connection ends behind the answer.
  virtual void respond(const Response& response) = 0;

  struct Taken {
    std::unique_ptr<io::Stream> stream;  // its reading is paused; set a handler, then resume_reading()
    bool chunked = true;                 // false: an HTTP/1.0 client, to whom the bytes go as they are
  };
  // Sends the head of an answer without an end, with Date and, for HTTP/1.1, Transfer-Encoding: chunked, and hands
  // the connection over: the owner writes the body (http1/chunk.h) and closes. Ends the exchange; the transport is
  // gone and no time of its runs any more. What the client sent behind its request is thrown away. Null: the
  // connection has ended.
  virtual Taken take_over(unsigned status,
                          const std::vector<std::pair<std::string, std::string>>& fields) = 0;
};

// An exchange of a client, of either version of HTTP: its answer may also come in pieces, and it tells who asks. Over
// HTTP/2 the bounds of the gRPC connection hold (grpc/server_connection.h), and take_over() gives nothing.
class StreamExchange : public Exchange {
 public:
  using Fields = std::vector<std::pair<std::string, std::string>>;
  virtual bool tls() const = 0;
  // Of the client's verified certificate; empty without one.
  virtual std::string_view tls_common_name() const = 0;
  // The body has no end that may be waited for: it takes as long as the client likes.
  virtual void take_time() = 0;
  // The head of the answer, with Date. write() may follow, and finish(), which ends the exchange.
  virtual void start(unsigned status, const Fields& fields) = 0;
  virtual void write(std::string bytes) = 0;
  virtual void finish() = 0;
  // Written, and not taken by the client's side of the connection yet.
  virtual size_t unsent_bytes() const = 0;
  // Runs once, as a task or callback of the loop, when unsent_bytes() has fallen to 0.
  virtual void when_drained(Task task) = 0;
};

class StreamDoor {
 public:
  virtual ~StreamDoor() = default;
  // As Door::serves(). The path is as sent.
  virtual bool serves(std::string_view path) const = 0;
  virtual void on_request(std::unique_ptr<StreamExchange> exchange) = 0;
};

class Door {
 public:
  virtual ~Door() = default;
  // Whether requests for this path are the door's; asked with each request's head.
  virtual bool serves(std::string_view path) const = 0;
  virtual void on_request(std::unique_ptr<Exchange> exchange) = 0;
};

}  // namespace quoin::http1
