// The way in: from the body's bytes to JSON values to messages to the service.
#include <algorithm>
#include <utility>

#include "httpapi/gateway/call.h"

namespace quoin::httpapi::gateway {
namespace {
// Of small messages, in one turn of the loop.
constexpr unsigned kValuesPerTurn = 32;
// What is read of a body is dropped from its front once it is this much.
constexpr size_t kDropBytes = 64 << 10;
}  // namespace

void GatewayCall::on_body(std::string_view piece) {
  unconsumed_ += piece.size();
  if (reading()) {
    body_.append(piece);
    if (refused_for_memory()) return;
  }
  process();
}

// What the request holds may be too much beside what all others hold.
bool GatewayCall::refused_for_memory() {
  account();
  if (held_ <= static_cast<int64_t>(Gateway::kHeldFloorBytes) || !context_.memory.exceeded()) return false;
  context_.probe.bound_reached(grpc::Bound::kRequests, peer_address_);
  const std::string_view text = error_info(Code::kTooManyRequests).text;
  if (!is_bidi()) {
    refuse(GrpcStatus::kUnavailable, text, /*as_stream=*/false);
  } else {
    finish(GrpcStatus::kUnavailable, text);
    if (listener_) listener_->on_cancelled(grpc::CancelReason::kBadMessage);
  }
  return true;
}

void GatewayCall::on_body_end() {
  body_ended_ = true;
  process();
}

void GatewayCall::on_body_failed(Error error) {
  body_ended_ = true;
  body_error_ = error.text();
  process();
}

void GatewayCall::resume_reading() {
  if (!std::exchange(paused_, false)) return;
  // Not within the service's call: it may have more to say.
  in_a_turn(&GatewayCall::process);
}

void GatewayCall::process() {
  if (std::exchange(processing_, true)) return;
  unsigned values = 0;
  while (reading() && !paused_) {
    const bool had_reader = reader_ != nullptr;
    if (!process_one()) break;
    const bool step_left = reader_ != nullptr && had_reader;
    if (step_left || ++values >= 2 * kValuesPerTurn) {
      if (!std::exchange(turn_wanted_, true)) {
        context_.turns.add([self = self_] {
          if (*self == nullptr) return;
          (*self)->turn_wanted_ = false;
          (*self)->process();
        });
      }
      break;
    }
  }
  processing_ = false;
  if (!reading()) {
    body_ = {};
    start_ = scanned_ = 0;
  }
  account();
  // What waits for a paused service, or for its turn, holds the client back.
  const bool waits = reading() && (paused_ || turn_wanted_);
  if (!waits && exchange_ && unconsumed_ > 0) exchange_->consumed(std::exchange(unconsumed_, 0));
}

// A value found, or a step of reading it. False: nothing more can be done with what is there.
bool GatewayCall::process_one() {
  if (reader_) {
    const Result<bool> done = reader_->step(JsonReader::kStepWork);
    if (!done) {
      reader_.reset();
      bad_value(done.error().text());
      return reading();
    }
    if (!*done) return !refused_for_memory();
    std::string message = reader_->take();
    reader_.reset();
    value_ = {};
    deliver(std::move(message));
    return reading();
  }
  size_t taken = 0;
  auto outcome = scanner_.feed(std::string_view(body_).substr(start_ + scanned_), taken);
  scanned_ += taken;
  if (outcome == ValueScanner::Outcome::kMore) {
    if (scanner_.blank()) {
      body_.clear();
      start_ = scanned_ = 0;
    }
    if (scanned_ > gateway_.body_bytes_max()) {
      bad_value("http: request body too large");
      return false;
    }
    if (!body_ended_) return false;
    if (!body_error_.empty()) {
      bad_value(body_error_);
      return false;
    }
    outcome = scanner_.end();
    if (outcome == ValueScanner::Outcome::kMore) {
      end_of_values();
      return false;
    }
  }
  if (outcome == ValueScanner::Outcome::kError) {
    bad_value(scanner_.error());
    return false;
  }
  begin_value();
  return true;
}

void GatewayCall::begin_value() {
  std::string_view found;
  if (start_ == 0 && (scanned_ == body_.size() || !is_bidi())) {
    // All there is, or all that is wanted: not copied, it may be long.
    value_ = std::exchange(body_, {});
    found = std::string_view(value_).substr(0, scanned_);
  } else {
    value_ = body_.substr(start_, scanned_);
    found = value_;
    start_ += scanned_;
    if (start_ == body_.size() || start_ >= kDropBytes) {
      body_.erase(0, start_);
      start_ = 0;
    }
  }
  scanned_ = 0;
  scanner_.reset();
  found.remove_prefix(std::min(found.find_first_not_of(" \t\r\n"), found.size()));
  reader_ = std::make_unique<JsonReader>(*route_.request, found);
}

void GatewayCall::bad_value(std::string_view text) {
  // A stream's sending ends; what came before is answered.
  if (is_bidi()) return end_of_values();
  refuse(GrpcStatus::kInvalidArgument, text, /*as_stream=*/false);
}

void GatewayCall::end_of_values() {
  if (!is_bidi()) return deliver({});
  input_done_ = true;
  if (listener_) listener_->on_half_close();
}

void GatewayCall::deliver(std::string message) {
  const size_t max = context_.limits.max_received_message_bytes;
  if (!is_bidi()) {
    input_done_ = true;
    if (never_asked() || !find_method()) return;
    if (message.size() > max) {
      return refuse(GrpcStatus::kResourceExhausted,
                    fmt::format("grpc: received message larger than max ({} vs. {})", message.size(), max),
                    is_stream());
    }
    request_ = std::move(message);
    account();
    return serve();
  }
  if (message.size() > max) {
    finish(GrpcStatus::kResourceExhausted,
           fmt::format("grpc: received message larger than max ({} vs. {})", message.size(), max));
    if (listener_) listener_->on_cancelled(grpc::CancelReason::kBadMessage);
    return;
  }
  if (!listener_) return;
  listener_->on_message(message);
  if (!bad_message_) context_.probe.received(*method_, message.size());
}

void GatewayCall::serve() {
  served_ = true;
  started_ = context_.clock.monotonic();
  if (!is_stream()) {
    const size_t bytes = request_.size();
    method_->unary->call(*this, request_);
    if (counted_ == Counted::kUndecodable) return;
    count_started();
    context_.probe.received(*method_, bytes);
    return;
  }
  count_started();
  auto listener = method_->stream->open(*this);
  if (ended_) return;
  listener_ = std::move(listener);
  if (is_bidi()) return;
  listener_->on_message(request_);
  if (!bad_message_) context_.probe.received(*method_, request_.size());
}

}  // namespace quoin::httpapi::gateway
