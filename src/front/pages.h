// HTTP requests of either version on their way to the endpoints (health, metrics, version), and back to their loop.
//
// Threads: the loop of the connection. Lifetime: endpoints and clock outlive all of it.
#pragma once
#include <absl/functional/any_invocable.h>

#include <string>

#include "grpc/http_handler.h"
#include "http1/server_connection.h"
#include "httpapi/httpapi.h"
#include "io/clock.h"
#include "io/loop.h"

namespace quoin::front {

// "Sat, 21 Nov 2026 10:00:00 GMT".
std::string imf_fixdate(io::WallNs now);

// `reply` runs on `loop`, within the call or later, maybe when the connection is gone: it looks for itself. The answer
// has no Date yet.
void serve_page(httpapi::Endpoints& endpoints, httpapi::Surface surface, bool tls,
                const http1::Request& request, io::Loop& loop,
                absl::AnyInvocable<void(http1::Response)> reply);

// Requests over HTTP/2, which come by TLS alone.
class Http2Pages final : public grpc::HttpHandler {
 public:
  // `gateway` may be null.
  Http2Pages(httpapi::Endpoints& endpoints, httpapi::Surface surface, io::Loop& loop, io::Clock& clock,
             http1::StreamDoor* gateway)
      : endpoints_(endpoints), surface_(surface), loop_(loop), clock_(clock), gateway_(gateway) {}
  void on_request(const http1::Request& request, Reply reply) override;
  http1::StreamDoor* door() override { return gateway_; }
  io::Loop* loop() override { return &loop_; }
  std::string date() override { return imf_fixdate(clock_.wall()); }

 private:
  httpapi::Endpoints& endpoints_;
  const httpapi::Surface surface_;
  io::Loop& loop_;
  io::Clock& clock_;
  http1::StreamDoor* const gateway_;
};

}  // namespace quoin::front
