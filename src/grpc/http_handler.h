// Requests over HTTP/2 that are no gRPC. etcd serves them beside gRPC on the ports that speak TLS (health, metrics, the
// JSON gateway); on a plain port they get 415. A connection takes them if its ServerContext names a handler.
//
// The body is collected first, as for HTTP/1.1 (http1/server_connection.h), and counts among the connection's requests
// (server_connection.h, Bounds); the answer counts among its answers until it is sent.
//
// Answered without the handler, in Go's words: 400 for a target that does not parse, 413 for a body of more than
// http1::Limits::body_bytes.
//
// Threads: the connection's loop. Lifetime: the handler outlives the connection.
#pragma once
#include <absl/functional/any_invocable.h>

#include "http1/door.h"
#include "http1/server_connection.h"
#include "io/loop.h"

namespace quoin::grpc {

class HttpHandler {
 public:
  // Answers once, on the connection's loop, within on_request() or later. It does nothing once the stream has ended.
  using Reply = absl::AnyInvocable<void(http1::Response)>;
  virtual ~HttpHandler() = default;
  // Names of fields are in lower case; `host` is `authority`. The views live until the reply or the stream's end,
  // whichever comes first. The connection adds content-length where Go does.
  virtual void on_request(const http1::Request& request, Reply reply) = 0;

  // Whoever takes some of the requests from their head on and answers in pieces (http1/door.h), before
  // on_request(). Null: nobody. What stands above of bodies and lengths does not hold for these.
  virtual http1::StreamDoor* door() { return nullptr; }
  // The connection's, and the Date field of an answer now; of a handler with a door.
  virtual io::Loop* loop() { return nullptr; }
  virtual std::string date() { return {}; }
};

}  // namespace quoin::grpc
