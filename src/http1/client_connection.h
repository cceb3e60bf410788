// The client side of one HTTP/1.1 connection without a socket: requests and the bytes of their bodies in, bytes
// out; the answer's bytes in, its head and the pieces of its body out.
//
// One exchange at a time: begin (send() or start()), the request's body, the answer. After on_complete() the next
// one may begin on the same connection if keep_alive() says so.
//
// The owner moves the bytes: after each call that may have made output it takes take_output() and writes it to
// the socket; when the socket has taken everything (io::StreamHandler::on_drained) it calls output_written().
// What the socket brings goes to feed(), its end to feed_eof(), its failure to abort().
//
// Bounds: the connection keeps nothing of an answer's body: each piece is handed on within feed(). A handler that
// cannot follow makes the owner stop reading the socket. Of the request, queued_bytes() tells what was written and
// is not known to be sent; whoever streams a body waits for on_writable() when that is enough. Heads are bounded by
// ClientLimits::head_bytes (all 1xx answers before the final one together), their fields in number, the framing of a
// chunked body and its trailer as on the server side (http1/body_decoder.h).
//
// What is accepted is what Go's client accepts: a line may end in LF alone (not within a chunked body), fields may
// go on in lines that begin with a blank, chunked outranks Content-Length, a body without either ends with the
// connection. 1xx answers are skipped; 101 ends the exchange, since nothing here asks for another protocol.
// Trailers are checked and forgotten.
//
// Threads: confined to its loop. Lifetime: the handler outlives the connection. Re-entrance: a handler may call
// anything of the connection from its callbacks but feed(), feed_eof(), output_written() and the destructor. abort()
// calls on_error() at once there too. The next exchange begins after feed() returned.
// Errors (on_error), with Go's words:
//   kMalformed, kLimit, kUnsupported  "net/http: HTTP/1.x transport connection broken: malformed HTTP response \"...\""
//   kIo  "EOF": the connection ended before the first byte of the answer; "unexpected EOF": within it
// Source: RFC 9112; Go's net/http.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace quoin::http1 {

struct ClientLimits {
  size_t head_bytes = 10 << 20;  // Go's default
};

struct ClientRequest {
  std::string method = "GET";
  std::string target = "/";                                 // "/raft/stream/msgapp/1", as it is sent
  std::string host;                                         // of the Host field: "10.0.0.1:2380"
  std::vector<std::pair<std::string, std::string>> fields;  // besides Host, Content-Length, Transfer-Encoding
};

// Views into it live until on_complete() or on_error() has returned.
struct ResponseHead {
  unsigned version = 11;  // 10 or 11
  unsigned status = 0;
  std::string_view status_text;                                       // "404 Not Found", as sent
  std::vector<std::pair<std::string_view, std::string_view>> fields;  // in order, names as sent
  std::optional<uint64_t> content_length;                             // none: not known before the end
  // First value of the field, its name compared without case.
  std::optional<std::string_view> field(std::string_view name) const;
};

class ResponseHandler {
 public:
  virtual ~ResponseHandler() = default;
  // May come before the request is sent whole: the peer does not want the rest. The handler then stops writing;
  // the connection is of no use after this exchange.
  virtual void on_head(const ResponseHead& head) = 0;
  // `bytes` lives during the call.
  virtual void on_body(std::string_view bytes) = 0;
  // The answer is whole.
  virtual void on_complete() = 0;
  // The exchange failed; the connection is of no use any more. Also when it fails between exchanges and nobody
  // waits for an answer: then nothing is called, and keep_alive() is false.
  virtual void on_error(Error error) = 0;
  // Everything written so far is sent, and the request's body is not finished.
  virtual void on_writable() {}
};

class ClientConnection {
 public:
  explicit ClientConnection(ResponseHandler& handler, const ClientLimits& limits = {});
  ~ClientConnection();

  // ---- a request; none may be in progress, and keep_alive() must hold ----
  // The whole of it. Content-Length is sent unless the body is empty and the method is one for which Go leaves it
  // out: all but POST, PUT and PATCH.
  void send(const ClientRequest& request, std::string_view body = {});
  // The head; the body follows by write() in chunks, up to finish().
  void start(const ClientRequest& request);
  // The head with Content-Length; exactly so many bytes follow by write(), then finish().
  void start(const ClientRequest& request, uint64_t content_length);
  // One chunk. The owner may also write whole chunks (http1/chunk.h) to the socket by itself, behind what
  // take_output() gave. Does nothing once the exchange has ended.
  void write(std::string_view bytes);
  // The body is whole. Does nothing once the exchange has ended.
  void finish();
  // Bytes of requests that are not known to be sent.
  size_t queued_bytes() const;

  // ---- the socket ----
  void feed(std::string_view bytes);
  void feed_eof();
  // The transport failed, or the exchange is given up: on_error(error) if one is in progress.
  void abort(Error error);
  bool has_output() const;
  std::string take_output();
  // The socket took all that was taken.
  void output_written();

  // ---- where it stands ----
  bool in_progress() const;     // a request began, and neither on_complete() nor on_error() came
  bool request_sent() const;    // finish() was called, or send()
  bool response_begun() const;  // a byte of the answer came: Go does not repeat such a request
  // Another request may be sent: none is in progress, and neither side wants the connection's end.
  bool keep_alive() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quoin::http1
