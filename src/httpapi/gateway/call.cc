// The life of a call through the gateway. call_input.cc reads, call_output.cc writes.
#include "httpapi/gateway/call.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"

namespace quoin::httpapi::gateway {

GatewayCall::GatewayCall(Gateway& gateway, std::unique_ptr<http1::StreamExchange> exchange,
                         const Route& route, Headers cors, Metadata metadata)
    : gateway_(gateway),
      context_(gateway.context()),
      exchange_(std::move(exchange)),
      route_(route),
      cors_(std::move(cors)),
      metadata_(std::move(metadata)),
      peer_address_(exchange_->peer_address()),
      self_(std::make_shared<GatewayCall*>(this)) {}

GatewayCall::~GatewayCall() {
  *self_ = nullptr;
  exchange_.reset();
  if (!ended_) cancel(grpc::CancelReason::kConnectionLost);
  listener_.reset();
  context_.memory.add(-held_);
}

void GatewayCall::start(Place place) {
  place_ = place;
  exchange_->when_aborted([this] { aborted(); });
  context_.calls.add(*this);
  arm_deadline();
  if (is_bidi()) {
    if (never_asked() || !find_method()) return;
    exchange_->take_time();
    serve();
  }
  if (!is_bidi()) expect_body();
  // A stream's values are bounded one by one.
  if (exchange_) exchange_->read_body(*this, is_bidi() ? UINT64_MAX : gateway_.body_bytes_max());
}

// A body that grows by doubling is copied at each step, which takes long for a long one. Room costs nothing before it is
// used.
void GatewayCall::expect_body() {
  constexpr size_t kRoomMax = 4 << 20;
  if (!exchange_) return;
  size_t length = 0;
  const std::string_view text = exchange_->request().field("Content-Length").value_or("");
  std::from_chars(text.data(), text.data() + text.size(), length);
  body_.reserve(std::min(length, kRoomMax));
}

void GatewayCall::arm_deadline() {
  if (!metadata_.timeout_ns) return;
  const int64_t ns = *metadata_.timeout_ns;
  const io::MonotonicNs now = context_.clock.monotonic();
  if (ns <= 0 || ns >= grpc::kNoDeadline - now) return;
  deadline_ = now + ns;
  deadline_timer_ = context_.timers.schedule(ns, context_.loop, [this] {
    if (ended_) return;
    cancel(grpc::CancelReason::kDeadline);
    status_ = GrpcStatus::kDeadlineExceeded;
    status_text_ = "context deadline exceeded";
    output_ended_ = true;
    // Of a unary call nothing is written but this.
    messages_.clear();
    messages_bytes_ = 0;
    pump();
  });
}

bool GatewayCall::never_asked() {
  if (metadata_.empty_name) {
    refuse(GrpcStatus::kInternal, "there is an empty key in the header", /*as_stream=*/false);
  } else if (metadata_.timeout_ns && *metadata_.timeout_ns <= 0) {
    refuse(GrpcStatus::kDeadlineExceeded, "context deadline exceeded", /*as_stream=*/false);
  }
  return ended_;
}

bool GatewayCall::find_method() {
  auto found = context_.methods.find(route_.method);
  if (auto* text = std::get_if<std::string>(&found)) {
    refuse(GrpcStatus::kUnimplemented, *text, /*as_stream=*/is_stream());
    return false;
  }
  method_ = std::get<const grpc::Method*>(found);
  CHECK(method_->kind == route_.kind, "{}", route_.method);
  return true;
}

void GatewayCall::refuse(GrpcStatus status, std::string_view text, bool as_stream) {
  if (ended_) return;
  leave_service();
  if (as_stream) {
    status_ = status;
    status_text_ = text;
    output_ended_ = true;
    return pump();
  }
  if (exchange_) give_answer(*exchange_, error_answer(cors_, status, text));
  exchange_over();
}

void GatewayCall::count_started() {
  if (counted_ != Counted::kNot) return;
  counted_ = Counted::kStarted;
  context_.probe.started(*method_);
}

void GatewayCall::leave_service() {
  prepared_ = 0;
  ended_ = true;
  input_done_ = true;
  deadline_timer_.reset();
  context_.calls.remove(*this);
  account();
}

void GatewayCall::cancel(grpc::CancelReason reason) {
  if (ended_) return;
  leave_service();
  if (!served_) return;
  GrpcStatus status =
      reason == grpc::CancelReason::kDeadline ? GrpcStatus::kDeadlineExceeded : GrpcStatus::kCanceled;
  if (route_.kind == grpc::MethodKind::kUnary) {
    status = method_->unary->cancelled(*this, request_, reason);
    method_->unary->ended(*this, request_, 0);
  } else if (listener_) {
    status = listener_->on_cancelled(reason);
  }
  if (counted_ == Counted::kStarted) context_.probe.handled(*this, status);
  grpc::leave_behind(work_);
}

// The client is gone.
void GatewayCall::aborted() {
  exchange_.reset();
  cancel(grpc::CancelReason::kClientReset);
  exchange_over();
}

void GatewayCall::finish(GrpcStatus status, std::string_view text) {
  if (ended_) return;
  status_ = status;
  status_text_ = text;
  if (route_.kind == grpc::MethodKind::kUnary) {
    if (status != GrpcStatus::kOk) {
      messages_.clear();
      messages_bytes_ = 0;
    }
    if (served_ && counted_ != Counted::kUndecodable) {
      count_started();
      method_->unary->ended(*this, request_, status == GrpcStatus::kOk ? message_bytes_ : 0);
    }
  }
  if (counted_ == Counted::kStarted) context_.probe.handled(*this, status);
  leave_service();
  output_ended_ = true;
  at_end_of_round(&GatewayCall::pump);
}

void GatewayCall::fail_decode(std::string_view detail) {
  if (ended_) return;
  bad_message_ = true;
  if (route_.kind == grpc::MethodKind::kUnary) counted_ = Counted::kUndecodable;
  finish(GrpcStatus::kInternal, fmt::format("{}: {}",
                                            route_.kind == grpc::MethodKind::kUnary
                                                ? "grpc: error unmarshalling request"
                                                : "grpc: failed to unmarshal the received message",
                                            detail));
}

std::shared_ptr<const void> GatewayCall::work() const {
  if (!work_ && !ended_) work_ = std::make_shared<grpc::WorkForCall>(gateway_.left_behind());
  return work_;
}

void GatewayCall::exchange_over() {
  exchange_.reset();
  messages_.clear();
  messages_bytes_ = 0;
  writer_.reset();
  text_ = {};
  account();
  done_if_over();
}

void GatewayCall::done_if_over() {
  if (exchange_ || !ended_ || std::exchange(removed_, true)) return;
  gateway_.remove(*this);
}

// Tells the memory budget what is held now.
void GatewayCall::account() {
  const size_t now = body_.size() + value_.size() + (reader_ ? reader_->held_bytes() : 0) + request_.size() +
                     prepared_ + messages_bytes_ + (writer_ ? writer_->held_bytes() : 0) + text_.size();
  const auto held = static_cast<int64_t>(now);
  if (held != held_) context_.memory.add(held - std::exchange(held_, held));
}

void GatewayCall::hold_prepared(size_t bytes) {
  if (ended_) return;
  prepared_ = bytes;
  account();
}

void GatewayCall::in_a_turn(void (GatewayCall::*step)()) {
  context_.turns.add([self = self_, step] {
    if (*self != nullptr) ((*self)->*step)();
  });
}

void GatewayCall::at_end_of_round(void (GatewayCall::*step)()) {
  context_.loop.at_end_of_round([self = self_, step] {
    if (*self != nullptr) ((*self)->*step)();
  });
}

}  // namespace quoin::httpapi::gateway
