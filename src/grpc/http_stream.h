// A stream of a gRPC connection that speaks plain HTTP (http_handler.h). Inside of ServerConnection.
//
// A request of the handler's door is an exchange from its head on: its body counts among the requests until the
// exchange has consumed it, and the windows grow as it does.
//
// Threads, lifetime: as ServerCall, but made for each request: they are few.
#pragma once
#include <memory>
#include <optional>
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
    kExchange,  // the door has it
    kAnswered,  // or refused: what still arrives is dropped
  };
  class DoorExchange;
  void respond(http1::Response response);
  void open_exchange(http1::StreamDoor& door);
  void read_body(http1::BodyReader& reader, uint64_t bytes_max);
  void hand_on(std::string_view piece);
  void consume(size_t bytes);
  void respond_behind_body(http1::Response response);
  void start_answer(unsigned status, std::vector<std::pair<std::string, std::string>> fields);
  void write_answer(std::string_view bytes);
  void finish_answer();
  void wake_output();
  void abort_exchange();
  void tell_drained();
  void submit_head(unsigned status, std::vector<std::pair<std::string, std::string>>& fields,
                   http2::BodySource* body);

  State state_ = State::kReceiving;
  http2::HeaderBlock headers_;
  http1::Request request_;
  bool head_ = false;  // HEAD: headers alone
  std::string body_;
  int64_t request_held_ = 0, headers_held_ = 0, answer_held_ = 0;
  http2::ByteQueue out_;  // the answer's body
  bool asleep_ = false;   // libnghttp2 found nothing to send and waits for resume()
  bool more_ = false;     // of the answer will be written

  // ---- of an exchange ----
  DoorExchange* exchange_ = nullptr;  // until it is answered
  http1::BodyReader* reader_ = nullptr;
  uint64_t body_max_ = 0, body_bytes_ = 0;
  size_t unconsumed_ = 0;
  bool half_closed_ = false;
  std::optional<http1::Response> late_answer_;  // waits for the end of the body
  size_t dropped_ = 0;                          // of the body since
  // Expires with the stream: a reply that comes later finds nobody.
  std::shared_ptr<HttpStream*> self_;
};

}  // namespace quoin::grpc
