// One call through the gateway: reads JSON out of the request's body, hands messages to the service, writes what it
// answers as JSON (spec api-semantics 8.2 to 8.5).
//
// Threads: confined to its loop. Lifetime: owned by the Gateway, which destroys it once remove() was called. It ends
// for the service exactly once (grpc/call.h); its exchange ends when the answer is written or the client is gone,
// whichever of them comes last ends the object.
// Work: a step of reading or writing takes less than a millisecond; further ones are turns of the loop.
#pragma once
#include <deque>
#include <list>
#include <memory>
#include <string>

#include "grpc/call.h"
#include "grpc/work_for_call.h"
#include "httpapi/gateway/gateway.h"
#include "httpapi/gateway/json_reader.h"
#include "httpapi/gateway/json_writer.h"
#include "httpapi/gateway/metadata.h"
#include "httpapi/gateway/value_scanner.h"

namespace quoin::httpapi::gateway {

class GatewayCall final : public grpc::Call, private http1::BodyReader {
 public:
  using Place = std::list<std::unique_ptr<GatewayCall>>::iterator;

  GatewayCall(Gateway& gateway, std::unique_ptr<http1::StreamExchange> exchange, const Route& route,
              Headers cors, Metadata metadata);
  ~GatewayCall() override;
  void start(Place place);
  Place place() const { return place_; }

  // ---- grpc::Call ----
  std::optional<std::string_view> metadata(std::string_view key) const override {
    return metadata_.find(key);
  }
  std::string_view peer_address() const override { return peer_address_; }
  // Whoever comes through the gateway is no one by his certificate.
  std::optional<std::string_view> tls_common_name() const override { return std::nullopt; }
  char* begin_message(size_t size) override;
  void end_message() override;
  void send(std::string_view head, const Blob& tail) override { send(head, std::span(&tail, 1)); }
  void send(std::string_view head, std::span<const Blob> parts) override;
  void hold_prepared(size_t bytes) override;
  void finish(GrpcStatus status, std::string_view text) override;
  void fail_decode(std::string_view detail) override;
  size_t queued_bytes() const override;
  bool writable() const override;
  void pause_reading() override { paused_ = true; }
  void resume_reading() override;
  std::shared_ptr<const void> work() const override;

 private:
  // ---- http1::BodyReader ----
  void on_body(std::string_view piece) override;
  void on_body_end() override;
  void on_body_failed(Error error) override;

  // ---- in: call_input.cc ----
  // Reads on in what came of the body, as far as may be done now.
  void process();
  bool process_one();
  void begin_value();
  bool refused_for_memory();
  void bad_value(std::string_view text);
  void end_of_values();
  void deliver(std::string message);
  void serve();
  bool reading() const { return !ended_ && !input_done_; }

  // ---- life ----
  bool find_method();
  // Whether the client that etcd's gateway is would not even ask; then the call has ended.
  bool never_asked();
  void expect_body();
  void arm_deadline();
  void aborted();
  void cancel(grpc::CancelReason reason);
  void leave_service();
  // Ends a call that no service knows yet.
  void refuse(GrpcStatus status, std::string_view text, bool as_stream);
  void count_started();
  void exchange_over();
  void done_if_over();
  void account();
  bool is_stream() const { return route_.kind != grpc::MethodKind::kUnary; }
  bool is_bidi() const { return route_.kind == grpc::MethodKind::kBidiStream; }
  // In another round of the loop; nothing if the call is destroyed by then.
  void in_a_turn(void (GatewayCall::*step)());
  void at_end_of_round(void (GatewayCall::*step)());

  // ---- out: call_output.cc ----
  void queue(std::deque<Blob> pieces, size_t bytes);
  void pump();
  void pump_on();
  // False: the writer failed, and the answer has ended for it.
  bool write_step();
  void send_text();
  void start_answer(unsigned status, bool with_type);
  void end_answer();
  void answer_failed(std::string_view text);
  void tell_writable();

  Gateway& gateway_;
  const Context& context_;
  std::unique_ptr<http1::StreamExchange> exchange_;
  const Route& route_;
  const Headers cors_;
  const Metadata metadata_;
  const std::string peer_address_;
  Place place_;
  std::shared_ptr<GatewayCall*> self_;
  bool removed_ = false;

  // ---- in ----
  std::string body_;    // received and not read
  size_t start_ = 0;    // of the value under way in it
  size_t scanned_ = 0;  // of it, from start_
  size_t unconsumed_ = 0;
  ValueScanner scanner_;
  std::string value_;  // being read
  std::unique_ptr<JsonReader> reader_;
  std::string request_;  // unary, server stream: the message
  bool body_ended_ = false;
  std::string body_error_;   // the body ended by it
  bool input_done_ = false;  // no further value is wanted
  bool paused_ = false, processing_ = false, turn_wanted_ = false;

  // ---- the service ----
  enum class Counted : uint8_t { kNot, kStarted, kUndecodable } counted_ = Counted::kNot;
  bool served_ = false;
  bool bad_message_ = false;
  std::unique_ptr<grpc::StreamListener> listener_;
  mutable std::shared_ptr<grpc::WorkForCall> work_;
  std::unique_ptr<io::Timer> deadline_timer_;

  // ---- out ----
  Blob filling_;  // between begin_message() and end_message()
  size_t message_bytes_ = 0;
  struct Message {
    std::deque<Blob> pieces;
    size_t bytes;
  };
  std::deque<Message> messages_;
  size_t messages_bytes_ = 0;
  std::unique_ptr<JsonWriter> writer_;
  std::string text_;  // made, and not given to the exchange yet
  bool head_sent_ = false;
  bool sent_any_ = false;  // a message: gRPC's headers went out
  bool output_ended_ = false;
  bool pump_scheduled_ = false, tell_writable_ = false;
  GrpcStatus status_ = GrpcStatus::kOk;
  std::string status_text_;

  size_t prepared_ = 0;
  int64_t held_ = 0;  // told to the memory budget
};

}  // namespace quoin::httpapi::gateway
