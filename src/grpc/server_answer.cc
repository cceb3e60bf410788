// The way out of a call: messages into its queue, status and trailers, and what libnghttp2 takes of them.
#include <algorithm>
#include <array>
#include <span>

#include "base/check.h"
#include "grpc/protocol.h"
#include "grpc/server_impl.h"

namespace quoin::grpc {
namespace {
constexpr std::string_view kContentType = "application/grpc";
}  // namespace

char* ServerCall::begin_message(size_t size) {
  DCHECK(size <= kMaxSentMessageBytes);
  s_.message_bytes = size;
  s_.before_message = out_.size();
  if (ended_ || s_.has_encoding) {
    plain_.resize(size);
    return plain_.data();
  }
  if (size < http2::ByteQueue::kShareMin) {
    char* p = out_.grow(kPrefixBytes + size);
    store_prefix(p, false, static_cast<uint32_t>(size));
    return p + kPrefixBytes;
  }
  char* start = nullptr;
  large_ = Blob::make(kPrefixBytes + size, [&start](char* p) { start = p; });
  store_prefix(start, false, static_cast<uint32_t>(size));
  return start + kPrefixBytes;
}

void ServerCall::end_message() {
  if (ended_) return;
  if (s_.has_encoding) {
    pack(std::exchange(plain_, {}), {});
  } else if (!large_.empty()) {
    out_.append(large_);
    large_ = Blob();
  }
  message_queued(s_.message_bytes, s_.before_message);
}

void ServerCall::send(std::string_view head, std::span<const Blob> parts) {
  size_t size = head.size();
  for (const Blob& part : parts) size += part.size();
  if (!fits(size)) return;
  hold_prepared(0);
  if (s_.has_encoding) {
    if (ended_) return;
    const size_t queued = out_.size();
    pack(std::string(head), parts);
    return message_queued(size, queued);
  }
  const size_t before = out_.size();
  char* p = out_.grow(kPrefixBytes + head.size());
  store_prefix(p, false, static_cast<uint32_t>(size));
  if (!head.empty()) std::memcpy(p + kPrefixBytes, head.data(), head.size());
  for (const Blob& part : parts) out_.append(part);
  message_queued(size, before);
}

void ServerCall::hold_prepared(size_t bytes) {
  if (ended_) return;
  // A step of a long read was done: whatever it looked at, that was a turn of the loop.
  if (s_.prepared == 0 && bytes > 0) owner_.session().add_work(http2::Session::kTurnWork);
  hold_answer(static_cast<int64_t>(bytes) - s_.prepared);
  s_.prepared = static_cast<int64_t>(bytes);
}

void ServerCall::hold_answer(int64_t delta) {
  owner_.hold_answer(delta, method_->kind == MethodKind::kUnary);
}

void ServerCall::wake_output() {
  if (s_.output != Output::kAsleep) return;
  s_.output = Output::kAwake;
  owner_.session().resume(stream_);
}

void ServerCall::message_queued(size_t message_bytes, size_t queued_before) {
  s_.message_bytes = message_bytes;
  owner_.session().add_work(message_bytes / kBytesPerWork);
  hold_answer(static_cast<int64_t>(out_.size() - queued_before));
  owner_.context().probe.sent(*method_, message_bytes);
  if (method_->kind == MethodKind::kUnary) return;  // leaves together with its status
  if (!writable()) s_.tell_writable = true;
  if (s_.output == Output::kNotBegun) {
    start_response();
  } else {
    wake_output();
  }
  owner_.output_ready();
}

bool ServerCall::writable() const {
  return !ended_ && queued_bytes() < owner_.context().limits.stream_queue_bytes;
}

void ServerCall::on_writable() {
  if (ended_ || !listener_) return;
  listener_->on_writable();
}

void ServerCall::start_response() {
  s_.output = Output::kAwake;
  std::array<http2::HeaderField, 3> fields = {
      {{":status", "200", true}, {"content-type", kContentType, true}, {"grpc-encoding", "gzip", true}}};
  if (!content_type_.empty()) fields[1] = {"content-type", content_type_};
  owner_.session().submit_response(stream_, std::span(fields.data(), s_.has_encoding ? 3 : 2), this);
}

void ServerCall::submit_trailers_only() {
  s_.output = Output::kAwake;
  std::array<http2::HeaderField, 4> fields = {{{":status", "200", true},
                                               {"content-type", kContentType, true},
                                               {"grpc-status", status_digits(s_.status), true},
                                               {"grpc-message", status_text_, false, !status_text_.empty()}}};
  if (!content_type_.empty()) fields[1] = {"content-type", content_type_};
  owner_.session().submit_response(stream_, fields, nullptr);
}

void ServerCall::finish(GrpcStatus status, std::string_view text) {
  if (ended_) return;
  s_.status = status;
  if (message_needs_encoding(text)) {
    status_text_ = encode_message(text);
  } else {
    status_text_ = text;
  }
  if (method_->kind == MethodKind::kUnary) {
    if (status != GrpcStatus::kOk) {
      hold_answer(-static_cast<int64_t>(out_.size()));
      out_.clear(0);
      drop_packing();
    }
    if (s_.phase == Phase::kServing && s_.counted != Counted::kUndecodable) {
      count_started();
      method_->unary->ended(*this, request_, status == GrpcStatus::kOk ? s_.message_bytes : 0);
    }
  }
  if (s_.counted == Counted::kStarted) owner_.context().probe.handled(*this, status);
  leave_service();
  if (s_.output != Output::kNotBegun) {
    wake_output();
  } else if (packing()) {
    s_.output = Output::kPacking;
  } else if (out_.empty()) {
    submit_trailers_only();
  } else {
    start_response();
  }
  owner_.output_ready();
}

http2::BodySource::Ready ServerCall::ready(size_t limit) {
  const size_t n = std::min(limit, out_.size());
  const bool end = ended_ && n == out_.size() && !packing();
  s_.output = n == 0 && !end ? Output::kAsleep : Output::kAwake;
  return {n, end};
}

void ServerCall::write(size_t n, http2::ByteQueue& out) {
  out_.move_to(n, out);
  took_output(n);
}

bool ServerCall::copy(size_t n, char* out) {
  out_.copy_to(n, out);
  took_output(n);
  return true;
}

void ServerCall::took_output(size_t n) {
  hold_answer(-static_cast<int64_t>(n));
  tell_writable_if_low();
}

void ServerCall::tell_writable_if_low() {
  if (s_.tell_writable && !ended_ && queued_bytes() <= owner_.context().limits.stream_queue_bytes / 2) {
    s_.tell_writable = false;
    owner_.became_writable(*this);
  }
}

bool ServerCall::trailers() {
  const std::array<http2::HeaderField, 2> fields = {
      {{"grpc-status", status_digits(s_.status), true},
       {"grpc-message", status_text_, false, !status_text_.empty()}}};
  owner_.session().submit_trailers(stream_, fields);
  return true;
}

}  // namespace quoin::grpc
