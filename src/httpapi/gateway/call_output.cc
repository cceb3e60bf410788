// The way out: from messages to JSON to the exchange, as fast as its client takes it.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "httpapi/gateway/call.h"

namespace quoin::httpapi::gateway {
namespace {
// Text made in one step, and handed to the exchange at once.
constexpr size_t kStepText = 64 << 10;
}  // namespace

char* GatewayCall::begin_message(size_t size) {
  DCHECK(size <= grpc::kMaxSentMessageBytes);
  message_bytes_ = size;
  char* start = nullptr;
  filling_ = Blob::make(size, [&start](char* p) { start = p; });
  static char nothing;
  return start != nullptr ? start : &nothing;
}

void GatewayCall::end_message() {
  std::deque<Blob> pieces;
  pieces.push_back(std::exchange(filling_, {}));
  if (!ended_) queue(std::move(pieces), message_bytes_);
}

void GatewayCall::send(std::string_view head, std::span<const Blob> parts) {
  size_t size = head.size();
  for (const Blob& part : parts) size += part.size();
  if (!fits(size)) return;
  prepared_ = 0;
  message_bytes_ = size;
  std::deque<Blob> pieces;
  if (!head.empty()) pieces.push_back(Blob::copy(head));
  pieces.insert(pieces.end(), parts.begin(), parts.end());
  queue(std::move(pieces), size);
}

void GatewayCall::queue(std::deque<Blob> pieces, size_t bytes) {
  messages_.push_back({std::move(pieces), bytes});
  messages_bytes_ += bytes;
  account();
  context_.probe.sent(*method_, bytes);
  if (!is_stream()) return;  // leaves with its status
  sent_any_ = true;
  if (!writable()) tell_writable_ = true;
  if (!std::exchange(pump_scheduled_, true)) at_end_of_round(&GatewayCall::pump_on);
}

size_t GatewayCall::queued_bytes() const {
  return messages_bytes_ + (writer_ ? writer_->held_bytes() : 0) + text_.size() +
         (exchange_ ? exchange_->unsent_bytes() : 0);
}

bool GatewayCall::writable() const {
  return !ended_ && queued_bytes() < context_.limits.stream_queue_bytes;
}

void GatewayCall::tell_writable() {
  if (!tell_writable_ || ended_ || !listener_ || queued_bytes() > context_.limits.stream_queue_bytes / 2)
    return;
  tell_writable_ = false;
  listener_->on_writable();
}

void GatewayCall::pump_on() {
  pump_scheduled_ = false;
  pump();
}

void GatewayCall::pump() {
  while (exchange_) {
    if (exchange_->unsent_bytes() >= Gateway::kUnsentMax) {
      exchange_->when_drained([this] { pump(); });
      break;
    }
    if (!writer_ && messages_.empty()) {
      if (output_ended_) return end_answer();
      send_text();
      break;
    }
    if (!writer_) {
      Message message = std::move(messages_.front());
      messages_.pop_front();
      messages_bytes_ -= message.bytes;
      if (is_stream()) text_ += "{\"result\":";
      writer_ = std::make_unique<JsonWriter>(*route_.response, std::move(message.pieces),
                                             is_stream() ? Escapes::kHtml : Escapes::kPlain);
    }
    if (!write_step()) return;
    if (text_.size() < kStepText) continue;
    send_text();
    if (std::exchange(pump_scheduled_, true)) break;
    in_a_turn(&GatewayCall::pump_on);
    break;
  }
  account();
  tell_writable();
}

bool GatewayCall::write_step() {
  const Result<bool> done = writer_->step(kStepText - std::min(kStepText - 1, text_.size()), text_);
  if (!done) {
    answer_failed(done.error().text());
    return false;
  }
  if (*done) {
    writer_.reset();
    if (is_stream()) text_ += "}\n";
  }
  return true;
}

void GatewayCall::start_answer(unsigned status, bool with_type) {
  head_sent_ = true;
  Headers fields = cors_;
  if (with_type) fields.emplace_back("Content-Type", "application/json");
  if (sent_any_) fields.emplace_back("Grpc-Metadata-Content-Type", "application/grpc");
  exchange_->start(status, fields);
}

void GatewayCall::send_text() {
  if (text_.empty()) return;
  if (!is_stream()) sent_any_ = true;
  if (!head_sent_) start_answer(200, true);
  exchange_->write(std::exchange(text_, {}));
}

// All is made: what is left of the answer goes out.
void GatewayCall::end_answer() {
  if (is_stream()) {
    // Nothing of it was flushed: over HTTP/2, Go knows the length.
    const bool whole = exchange_->request().version == 20 && !head_sent_ && text_.empty();
    if (whole) {
      Headers fields = cors_;
      std::string line;
      if (status_ != GrpcStatus::kOk) {
        fields.emplace_back("Content-Type", "application/json");
        line = fmt::format("{{\"error\":{}}}\n", error_json(status_, status_text_, Escapes::kHtml));
      }
      give_answer(*exchange_, {static_cast<int>(http_status(status_)), std::move(fields), std::move(line)});
      return exchange_over();
    }
    if (status_ != GrpcStatus::kOk) {
      if (!head_sent_ && text_.empty()) start_answer(http_status(status_), true);
      text_ += fmt::format("{{\"error\":{}}}\n", error_json(status_, status_text_, Escapes::kHtml));
    }
    if (!text_.empty()) {
      send_text();
    } else if (!head_sent_) {
      start_answer(200, false);
    }
    exchange_->finish();
  } else if (status_ != GrpcStatus::kOk) {
    give_answer(*exchange_, error_answer(cors_, status_, status_text_));
  } else if (!head_sent_) {
    Headers fields = cors_;
    fields.emplace_back("Content-Type", "application/json");
    fields.emplace_back("Grpc-Metadata-Content-Type", "application/grpc");
    give_answer(*exchange_, {200, std::move(fields), std::exchange(text_, {})});
  } else {
    send_text();
    exchange_->finish();
  }
  exchange_over();
}

// A text in the message is no UTF-8, so that it has no JSON. What was begun of it is not sent, where that can be
// helped.
void GatewayCall::answer_failed(std::string_view text) {
  if (!ended_) cancel(grpc::CancelReason::kClientReset);
  writer_.reset();
  messages_.clear();
  messages_bytes_ = 0;
  status_ = GrpcStatus::kUnknown;
  status_text_ = text;
  if (is_stream()) {
    const size_t line = text_.rfind('\n');
    text_.resize(line == std::string::npos ? 0 : line + 1);
  } else {
    text_.clear();
    if (head_sent_) {
      exchange_.reset();  // cuts the connection
      return exchange_over();
    }
  }
  output_ended_ = true;
  end_answer();
}

}  // namespace quoin::httpapi::gateway
