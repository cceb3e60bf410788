// The server side of one HTTP/1.1 connection without a socket: bytes in, whole requests to a handler, bytes
// out. Serves /health, /metrics, /version, the JSON gateway. What a request is: http1/request_parser.h.
//
// Requests of one connection are handled one at a time, in order: the next one (pipelined) is told when the
// answer to the one before is complete and output_written() was called for it. Until then feed() keeps what
// follows, and reading() is false once that is Limits::pipelined_bytes: stop reading the socket. A connection
// thus holds one request, one answer, and pipelined_bytes beside what a single feed() brought. The body is
// collected first, as Go's server does for these handlers.
//
// Answered here, without the handler: 400 for what does not parse (and the connection ends), 413 for a body
// over the limit, 431 for header fields over the limit, 417 for an unknown Expect, 501 for an unknown
// Transfer-Encoding, 505 for a version other than 1.0 and 1.1. `Expect: 100-continue` is answered before the
// body is read. A HEAD request gets the headers alone.
//
// In pieces: a handler that returns true from on_head() serves that request from its head on. Nothing of the body is
// read before read_body(), which also answers `Expect: 100-continue`; then each piece is handed on as it comes and
// counts until consumed(); reading() is false while Limits::body_window_bytes are not. A handler may answer before
// the body is whole: what is left of it is thrown away if its length is known and at most kDiscardedBodyMax,
// otherwise the connection ends behind the answer. With take_over() the connection ends being HTTP: the owner writes
// the rest of the answer to the socket itself.
//
// Threads: confined to its loop. Lifetime: the handler outlives the connection. Re-entrance: the handler may
// answer within on_request(); it must not call feed().
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

// Views into it live until the answer is complete.
struct Request {
  std::string_view method;                                            // "GET"
  std::string_view target;                                            // "/v3/kv/range?x=y", as sent
  std::string_view authority;                                         // of an absolute target, else empty
  std::string_view path, query;                                       // of the target, escapes not undone
  unsigned version = 11;                                              // 10 or 11
  std::vector<std::pair<std::string_view, std::string_view>> fields;  // in order, names as sent
  std::string_view body;

  // First value of the field, its name compared without case.
  std::optional<std::string_view> field(std::string_view name) const;
};

struct Response {
  unsigned status = 200;
  std::vector<std::pair<std::string, std::string>>
      fields;  // without Content-Length, Transfer-Encoding, Date, Connection
  std::string body;
};

struct Limits {
  size_t header_bytes = 1 << 20;  // Go's default of 1 MiB; 4 KiB more are read, as there
  size_t body_bytes = 4 << 20;
  size_t pipelined_bytes = 64 << 10;     // received behind a request that is not answered yet
  size_t body_window_bytes = 256 << 10;  // of a body in pieces, handed to the handler and not consumed
};

// How much of a body that nobody wants is read so that the connection can be used again (Go's bound).
inline constexpr uint64_t kDiscardedBodyMax = 256 << 10;

class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  // Answer now or later by respond() or start(). `request` lives until the answer is complete.
  virtual void on_request(const Request& request) = 0;
  // The head of a request has arrived; `head` lives as in on_request(), its body is empty. True: the body is taken
  // in pieces, on_request() is not called, and the answer may be given from here on.
  virtual bool on_head(const Request& /*head*/) { return false; }
  // ---- of a body in pieces, after read_body() ----
  // `piece` lives during the call.
  virtual void on_body(std::string_view /*piece*/) {}
  virtual void on_body_end() {}
  // No more of it comes: kMalformed, kLimit (longer than read_body() allows), kIo ("unexpected EOF"). The request may
  // still be answered; the connection ends behind the answer.
  virtual void on_body_failed(Error) {}
  // The connection ended before the answer was complete.
  virtual void on_aborted() {}
};

class ServerConnection {
 public:
  ServerConnection(RequestHandler& handler, const Limits& limits);
  ~ServerConnection();

  // Takes all bytes.
  void feed(std::string_view bytes);
  // The peer half-closed: an answer under way is still sent.
  void feed_eof();
  // The transport is gone.
  void abort();

  // False while enough is buffered: stop reading until it is true again.
  bool reading() const;
  // Output since the last call.
  std::string take_output();
  bool has_output() const;
  // All that was taken is on its way (the socket took it): the next request may have its turn.
  void output_written();
  // Once the output is written, close the transport.
  bool closing() const;
  bool request_in_progress() const;
  // A request has begun to arrive and is not whole yet, and bytes of it are wanted now.
  bool receiving() const;

  // ---- the body in pieces of the request in progress ----
  // Hands on the body, of at most `bytes_max`. Pieces that are there already come within this call, unless it is made
  // within feed(). Does nothing once the request is answered.
  void read_body(uint64_t bytes_max);
  // So many bytes of the pieces are done with.
  void consumed(size_t bytes);

  // ---- the answer to the request in progress ----
  // `date` (IMF-fixdate) goes into the Date field; empty leaves it out.
  void respond(const Response& response, std::string_view date);
  // A streamed answer: chunked for HTTP/1.1, ended by close for 1.0.
  void start(unsigned status, const std::vector<std::pair<std::string, std::string>>& fields,
             std::string_view date);
  void write(std::string_view bytes);
  void finish();
  // Behind start(): the owner takes the connection as it is. The head that start() made is the last output; nothing is
  // read or called back any more, and closing() stays false. Whether the rest of the answer must be in chunks
  // (http1/chunk.h).
  bool take_over();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// "Bad Request"; empty for a status without a registered phrase.
std::string_view reason_phrase(unsigned status);

}  // namespace quoin::http1
