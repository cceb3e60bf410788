#include <algorithm>
#include <array>
#include <span>

#include "base/check.h"
#include "grpc/gzip.h"
#include "grpc/protocol.h"
#include "grpc/server_impl.h"

namespace quoin::grpc {
namespace {
// Buffers of a finished call larger than this are not kept for the next one.
constexpr size_t kKeepBytes = 16 * 1024;
// What a request costs beside its bytes: the call's own structures and libnghttp2's stream.
constexpr int64_t kRequestBaseBytes = 1024;
constexpr std::string_view kContentType = "application/grpc";
}  // namespace

// ---------------------------------------------------------------- life

void ServerCall::open(http2::StreamId stream, const Method& method, http2::HeaderBlock& headers,
                      const RequestHead& head, io::MonotonicNs deadline) {
  stream_ = stream;
  method_ = &method;
  deadline_ = deadline;
  has_encoding_ = !head.encoding.empty();
  if (!head.subtype.empty()) content_type_ = fmt::format("{}+{}", kContentType, head.subtype);
  headers_.swap(headers);
  reader_.reset(owner_.context().limits.max_received_message_bytes);
  if (method.kind != MethodKind::kBidiStream)
    hold_request(kRequestBaseBytes + static_cast<int64_t>(headers_.bytes()));
}

void ServerCall::start_stream() {
  started_ = owner_.now();
  count_started();
  auto listener = method_->stream->open(*this);
  CHECK(listener != nullptr || ended_, "{}/{}: neither ended nor listened to", method_->service,
        method_->name);
  // Once ended, nothing may be called any more, so there is nothing to keep.
  if (!ended_) listener_ = std::move(listener);
}

void ServerCall::release() {
  DCHECK(ended_);
  listener_.reset();
  headers_.clear();
  if (!out_.empty()) owner_.hold_answer(-static_cast<int64_t>(out_.size()));
  out_.clear(kKeepBytes);
  hold_request(-request_held_);
  reader_.next();
  reader_.shrink(kKeepBytes);
  for (std::string* s : {&request_, &unzipped_, &pending_, &plain_}) {
    s->clear();
    if (s->capacity() > kKeepBytes) *s = std::string();
  }
  large_ = Blob();
  status_text_.clear();
  content_type_.clear();
  status_ = GrpcStatus::kOk;
  deadline_ = kNoDeadline;
  context = 0;
  owed_stream = 0;
  ended_ = has_encoding_ = have_request_ = half_closed_ = reading_done_ = paused_ = in_read_ = was_full_ =
      false;
  response_started_ = asleep_ = started_counted_ = decode_failed_ = false;
}

void ServerCall::drop_request() {
  DCHECK(ended_);
  reader_.next();
  reader_.shrink(0);
  pending_ = std::string();
  hold_request(-request_held_);
}

void ServerCall::hold_request(int64_t delta) {
  request_held_ += delta;
  owner_.hold_request(delta);
}

void ServerCall::count_started() {
  if (started_counted_) return;
  started_counted_ = true;
  owner_.context().probe.started(*method_);
}

void ServerCall::leave_service() {
  if (prepared_ != 0) hold_prepared(0);
  ended_ = true;
  reading_done_ = true;
  owner_.call_ended(*this);
}

void ServerCall::cancel(CancelReason reason) {
  if (ended_) return;
  leave_service();
  GrpcStatus status = GrpcStatus::kCanceled;
  if (method_->kind == MethodKind::kUnary) {
    if (!have_request_) return;  // its handler never heard of it
    status = method_->unary->cancelled(*this, request_, reason);
    method_->unary->ended(*this, request_, 0);
  } else if (listener_) {
    status = listener_->on_cancelled(reason);
  }
  if (started_counted_) owner_.context().probe.handled(*this, status);
}

// ---------------------------------------------------------------- receiving

void ServerCall::on_data(std::string_view bytes) {
  if (reading_done_) return;
  hold_request(static_cast<int64_t>(bytes.size()));
  if (paused_ || in_read_ || !pending_.empty()) {
    pending_.append(bytes);
  } else {
    read(bytes);
  }
}

void ServerCall::read(std::string_view bytes) {
  in_read_ = true;
  while (!bytes.empty() && !reading_done_ && !paused_) {
    const auto step = reader_.read(bytes);
    if (step == MessageReader::Step::kTooLarge) {
      bad_message(GrpcStatus::kResourceExhausted,
                  fmt::format("grpc: received message larger than max ({} vs. {})", reader_.announced_bytes(),
                              owner_.context().limits.max_received_message_bytes));
      break;
    }
    if (step == MessageReader::Step::kMore) break;
    if (unpack_message()) deliver_message();
  }
  in_read_ = false;
  if (paused_ && !bytes.empty()) pending_.assign(bytes);
  if (method_->kind == MethodKind::kBidiStream) {
    // What was delivered is no longer held; what is under way or pending is.
    hold_request(static_cast<int64_t>(reader_.buffered_bytes() + pending_.size()) - request_held_);
  }
  if (ended_) return;
  if (!reader_.idle() && !have_request_) {
    owner_.message_under_way(*this);
    if (const size_t announced = reader_.announced_bytes())
      owner_.want_window(*this, announced + kPrefixBytes);
  } else if (method_->kind == MethodKind::kBidiStream) {
    owner_.message_complete(*this);
  }
}

bool ServerCall::unpack_message() {
  const uint8_t flag = reader_.flag();
  if (have_request_) {  // a second message; only a server stream gets here
    bad_message(GrpcStatus::kInternal,
                "cardinality violation: received multiple request messages for non-client-streaming RPC");
    return false;
  }
  if (flag > 1) {
    bad_message(GrpcStatus::kInternal, fmt::format("grpc: received unexpected payload format {}", flag));
    return false;
  }
  if (flag == 1) {
    if (!has_encoding_) {
      bad_message(GrpcStatus::kInternal, "grpc: compressed flag set with identity or empty encoding");
      return false;
    }
    const size_t limit = owner_.context().limits.max_received_message_bytes;
    if (auto r = gunzip(reader_.message(), limit, unzipped_); !r) {
      if (r.error().code() == Code::kLimit) {
        bad_message(GrpcStatus::kResourceExhausted,
                    fmt::format("grpc: received message after decompression larger than max {}", limit));
      } else {
        bad_message(GrpcStatus::kInternal, fmt::format("grpc: {}", r.error().text()));
      }
      return false;
    }
    hold_request(static_cast<int64_t>(unzipped_.size()));
    reader_.message().swap(unzipped_);
  }
  return true;
}

void ServerCall::deliver_message() {
  if (method_->kind == MethodKind::kBidiStream) {
    const size_t bytes = reader_.message().size();
    listener_->on_message(reader_.message());
    if (!decode_failed_) owner_.context().probe.received(*method_, bytes);
    reader_.next();
    reader_.shrink(kKeepBytes);
    return;
  }
  have_request_ = true;
  request_.swap(reader_.message());
  reader_.next();
  if (method_->kind == MethodKind::kServerStream)
    return;  // waits for the half-close: there may be a second message
  owner_.message_complete(*this);
  reading_done_ = true;
  const size_t bytes = request_.size();
  started_ = owner_.now();
  method_->unary->call(*this, request_);
  if (decode_failed_) return;
  count_started();
  owner_.context().probe.received(*method_, bytes);
}

void ServerCall::on_half_close() {
  half_closed_ = true;
  if (ended_ || paused_ || !pending_.empty()) return;
  end_of_messages();
}

void ServerCall::end_of_messages() {
  const bool cut = reader_.in_body();
  switch (method_->kind) {
    case MethodKind::kUnary:
      if (!have_request_) bad_message(GrpcStatus::kUnknown, cut ? "unexpected EOF" : "EOF");
      break;
    case MethodKind::kServerStream: {
      owner_.message_complete(*this);
      if (cut) return bad_message(GrpcStatus::kInternal, "unexpected EOF");
      if (!have_request_) {
        return bad_message(
            GrpcStatus::kInternal,
            "cardinality violation: received no request message from non-client-streaming RPC");
      }
      reading_done_ = true;
      listener_->on_message(request_);
      if (!decode_failed_) owner_.context().probe.received(*method_, request_.size());
      break;
    }
    case MethodKind::kBidiStream:
      owner_.message_complete(*this);
      if (cut) return bad_message(GrpcStatus::kInternal, "unexpected EOF");
      reading_done_ = true;
      listener_->on_half_close();
      break;
  }
}

void ServerCall::bad_message(GrpcStatus status, std::string_view text) {
  if (ended_) return;
  finish(status, text);
  if (listener_) listener_->on_cancelled(CancelReason::kBadMessage);
}

void ServerCall::fail_decode(std::string_view detail) {
  if (ended_) return;
  decode_failed_ = true;
  const bool unary = method_->kind == MethodKind::kUnary;
  finish(GrpcStatus::kInternal, fmt::format("{}: {}",
                                            unary ? "grpc: error unmarshalling request"
                                                  : "grpc: failed to unmarshal the received message",
                                            detail));
}

void ServerCall::pause_reading() {
  paused_ = !ended_;
}

void ServerCall::resume_reading() {
  if (!paused_ || ended_) return;
  paused_ = false;
  if (in_read_) return;  // the loop below on_message() goes on by itself
  std::string bytes;
  bytes.swap(pending_);
  if (!bytes.empty()) read(bytes);
  if (ended_ || paused_) return;
  if (owed_stream > 0) {
    owner_.session().consume_stream(stream_, owed_stream);
    owed_stream = 0;
    owner_.output_ready();
  }
  if (half_closed_ && !reading_done_) end_of_messages();
}

// ---------------------------------------------------------------- sending

char* ServerCall::begin_message(size_t size) {
  DCHECK(size <= kMaxSentMessageBytes);
  message_bytes_ = size;
  before_message_ = out_.size();
  if (ended_ || has_encoding_) {
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
  if (has_encoding_) {
    std::string packed(kPrefixBytes, '\0');
    gzip(plain_, packed);
    store_prefix(packed.data(), true, static_cast<uint32_t>(packed.size() - kPrefixBytes));
    out_.append(packed);
  } else if (!large_.empty()) {
    out_.append(large_);
    large_ = Blob();
  }
  message_queued(message_bytes_, before_message_);
}

void ServerCall::send(std::string_view head, std::span<const Blob> parts) {
  size_t size = head.size();
  for (const Blob& part : parts) size += part.size();
  if (!fits(size)) return;
  hold_prepared(0);
  if (has_encoding_) {
    char* p = begin_message(size);
    if (!head.empty()) std::memcpy(p, head.data(), head.size());
    p += head.size();
    for (const Blob& part : parts) {
      if (!part.empty()) std::memcpy(p, part.view().data(), part.size());
      p += part.size();
    }
    end_message();
    return;
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
  owner_.hold_answer(static_cast<int64_t>(bytes) - prepared_);
  prepared_ = static_cast<int64_t>(bytes);
}

void ServerCall::message_queued(size_t message_bytes, size_t queued_before) {
  message_bytes_ = message_bytes;
  owner_.hold_answer(static_cast<int64_t>(out_.size() - queued_before));
  owner_.context().probe.sent(*method_, message_bytes);
  if (method_->kind == MethodKind::kUnary) return;  // leaves together with its status
  if (!writable()) was_full_ = true;
  if (!response_started_) {
    start_response();
  } else if (asleep_) {
    asleep_ = false;
    owner_.session().resume(stream_);
  }
  owner_.output_ready();
}

bool ServerCall::writable() const {
  return !ended_ && out_.size() < owner_.context().limits.stream_queue_bytes;
}

void ServerCall::on_writable() {
  if (ended_ || !listener_) return;
  listener_->on_writable();
}

void ServerCall::start_response() {
  response_started_ = true;
  std::array<http2::HeaderField, 3> fields = {
      {{":status", "200", true}, {"content-type", kContentType, true}, {"grpc-encoding", "gzip", true}}};
  if (!content_type_.empty()) fields[1] = {"content-type", content_type_};
  owner_.session().submit_response(stream_, std::span(fields.data(), has_encoding_ ? 3 : 2), this);
}

void ServerCall::submit_trailers_only() {
  response_started_ = true;
  std::array<http2::HeaderField, 4> fields = {{{":status", "200", true},
                                               {"content-type", kContentType, true},
                                               {"grpc-status", status_digits(status_), true},
                                               {"grpc-message", status_text_, false, !status_text_.empty()}}};
  if (!content_type_.empty()) fields[1] = {"content-type", content_type_};
  owner_.session().submit_response(stream_, fields, nullptr);
}

void ServerCall::finish(GrpcStatus status, std::string_view text) {
  if (ended_) return;
  status_ = status;
  if (message_needs_encoding(text)) {
    status_text_ = encode_message(text);
  } else {
    status_text_ = text;
  }
  if (method_->kind == MethodKind::kUnary) {
    if (status != GrpcStatus::kOk && !out_.empty()) {
      owner_.hold_answer(-static_cast<int64_t>(out_.size()));
      out_.clear(kKeepBytes);
    }
    if (have_request_ && !decode_failed_) {
      count_started();
      method_->unary->ended(*this, request_, status == GrpcStatus::kOk ? message_bytes_ : 0);
    }
  }
  if (started_counted_) owner_.context().probe.handled(*this, status);
  leave_service();
  if (response_started_) {
    if (asleep_) {
      asleep_ = false;
      owner_.session().resume(stream_);
    }
  } else if (out_.empty()) {
    submit_trailers_only();
  } else {
    start_response();
  }
  owner_.output_ready();
}

http2::BodySource::Ready ServerCall::ready(size_t limit) {
  const size_t n = std::min(limit, out_.size());
  const bool end = ended_ && n == out_.size();
  asleep_ = n == 0 && !end;
  return {n, end};
}

void ServerCall::write(size_t n, http2::ByteQueue& out) {
  out_.move_to(n, out);
  owner_.hold_answer(-static_cast<int64_t>(n));
  if (was_full_ && !ended_ && out_.size() <= owner_.context().limits.stream_queue_bytes / 2) {
    was_full_ = false;
    owner_.became_writable(*this);
  }
}

bool ServerCall::trailers() {
  const std::array<http2::HeaderField, 2> fields = {
      {{"grpc-status", status_digits(status_), true},
       {"grpc-message", status_text_, false, !status_text_.empty()}}};
  owner_.session().submit_trailers(stream_, fields);
  return true;
}

// ---------------------------------------------------------------- facts

std::optional<std::string_view> ServerCall::metadata(std::string_view key) const {
  if (is_reserved_header(key)) return std::nullopt;
  return headers_.find(key);
}
std::string_view ServerCall::peer_address() const {
  return owner_.peer().address;
}
std::string_view ServerCall::tls_common_name() const {
  return owner_.peer().tls_common_name;
}

}  // namespace quoin::grpc
