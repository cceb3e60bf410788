// A stream of a gRPC connection that speaks plain HTTP (http_handler.h). Inside of ServerConnection.
//
// Threads, lifetime: as ServerCall, but made for each request: they are few.
#pragma once
#include <memory>
#include <string>

#include "grpc/http_handler.h"
#include "grpc/server_impl.h"

namespace quoin::grpc {

class HttpStream final : public ServerStream, public http2::BodySource {
 public:
  HttpStream(ServerConnection::Impl& owner, http2::StreamId id, http2::HeaderBlock& headers);
  ~HttpStream() override;
  // Behind the headers; `end`: no body follows.
  void start(bool end);
  // No answer goes out any more.
  void cancel();

  // ---- ServerStream ----
  void on_data(std::string_view bytes) override;
  void on_half_close() override;
  void on_closed() override;
  bool paused() const override { return false; }
  bool waits_for_answer() const override { return state_ == State::kServing; }
  void refuse() override;

  // ---- http2::BodySource ----
  Ready ready(size_t limit) override;
  void write(size_t n, http2::ByteQueue& out) override;
  bool trailers() override { return false; }

 private:
  enum class State : uint8_t {
    kReceiving,
    kServing,   // the handler has the request
    kAnswered,  // or refused: what still arrives is dropped
  };
  void respond(http1::Response response);

  State state_ = State::kReceiving;
  http2::HeaderBlock headers_;
  http1::Request request_;
  bool head_ = false;  // HEAD: headers alone
  std::string body_;
  int64_t request_held_ = 0, headers_held_ = 0, answer_held_ = 0;
  http2::ByteQueue out_;  // the answer's body
  // Expires with the stream: a reply that comes later finds nobody.
  std::shared_ptr<HttpStream*> self_;
};

}  // namespace quoin::grpc
