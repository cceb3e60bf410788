// The life of a call and the way in: from DATA to messages to the service.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "grpc/protocol.h"
#include "grpc/server_impl.h"
#include "http2/give_back.h"

namespace quoin::grpc {
namespace {
// Of a finished call's buffers, what is kept for the next one: enough for most requests.
constexpr size_t kKeepBytes = 2048;
// What a request costs beside its bytes: the call's own structures and libnghttp2's stream.
constexpr int64_t kRequestBaseBytes = 1024;
}  // namespace

// ---------------------------------------------------------------- life

void ServerCall::open(http2::StreamId stream, const Method& method, http2::HeaderBlock& headers,
                      const RequestHead& head, io::MonotonicNs deadline) {
  stream_ = stream;
  method_ = &method;
  deadline_ = deadline;
  s_.has_encoding = !head.encoding.empty();
  if (!head.subtype.empty()) content_type_ = fmt::format("application/grpc+{}", head.subtype);
  headers_.swap(headers);
  s_.headers_held = static_cast<int64_t>(headers_.held_bytes());
  owner_.hold_headers(s_.headers_held);
  reader_.reset(owner_.context().limits.max_received_message_bytes);
  if (method.kind != MethodKind::kBidiStream) hold_request(kRequestBaseBytes);
}

void ServerCall::start_stream() {
  s_.phase = Phase::kServing;
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
  drop_packing();
  owner_.coded(*this);
  listener_.reset();
  work_.reset();
  headers_.clear();
  owner_.hold_headers(-s_.headers_held);
  if (!out_.empty()) hold_answer(-static_cast<int64_t>(out_.size()));
  out_.clear(kKeepBytes);
  hold_request(-s_.request_held);
  reader_.next();
  reader_.shrink(kKeepBytes);
  for (std::string* s : {&request_, &unzipped_, &pending_, &plain_, &status_text_, &content_type_}) {
    http2::empty(*s, kKeepBytes);
  }
  large_ = Blob();
  s_ = State();
  ended_ = false;
  deadline_ = kNoDeadline;
  context = 0;
  owed_stream = 0;
}

void ServerCall::hold_request(int64_t delta) {
  s_.request_held += delta;
  owner_.hold_request(delta);
}

void ServerCall::count_started() {
  if (s_.counted != Counted::kNot) return;
  s_.counted = Counted::kStarted;
  owner_.context().probe.started(*method_);
}

void ServerCall::leave_service() {
  if (s_.prepared != 0) hold_prepared(0);
  s_.phase = Phase::kEnded;
  s_.input = Input::kDone;
  gunzip_.reset();
  ended_ = true;
  owner_.call_ended(*this);
}

void ServerCall::cancel(CancelReason reason) {
  if (ended_) return;
  const Phase was = s_.phase;
  drop_packing();
  leave_service();
  GrpcStatus status =
      reason == CancelReason::kDeadline ? GrpcStatus::kDeadlineExceeded : GrpcStatus::kCanceled;
  if (was == Phase::kReceiving) return;  // its handler never heard of it
  if (was == Phase::kParked) {
    count_started();
  } else if (method_->kind == MethodKind::kUnary) {
    status = method_->unary->cancelled(*this, request_, reason);
    method_->unary->ended(*this, request_, 0);
  } else if (listener_) {
    status = listener_->on_cancelled(reason);
  }
  if (s_.counted == Counted::kStarted) owner_.context().probe.handled(*this, status);
  leave_behind(work_);
}

// ---------------------------------------------------------------- receiving

void ServerCall::on_data(std::string_view bytes) {
  if (s_.input != Input::kDone) {
    hold_request(static_cast<int64_t>(bytes.size()));
    if (paused() || s_.delivering || !pending_.empty()) {
      pending_.append(bytes);
    } else {
      read(bytes);
    }
  }
  owner_.give_credit(*this, bytes.size());
}

void ServerCall::on_closed() {
  cancel(CancelReason::kClientReset);
  owner_.retire(*this);
}

void ServerCall::refuse() {
  cancel(CancelReason::kConnectionLost);
  // Its buffers go back at once.
  reader_.next();
  reader_.shrink(0);
  http2::give_back(pending_);
  hold_request(-s_.request_held);
  headers_.clear();
  owner_.hold_headers(-std::exchange(s_.headers_held, 0));
  owner_.session().reset(stream_, http2::ErrorCode::kRefusedStream);
}

void ServerCall::read(std::string_view bytes) {
  s_.delivering = true;
  while (!bytes.empty() && s_.input == Input::kOpen && !gunzip_) {
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
  s_.delivering = false;
  if (paused() && !bytes.empty()) pending_.assign(bytes);
  account_read();
}

void ServerCall::account_read() {
  if (method_->kind == MethodKind::kBidiStream) {
    // What was delivered is no longer held; what is under way or pending is.
    const size_t held = reader_.buffered_bytes() + pending_.size() + (gunzip_ ? unzipped_.size() : 0);
    hold_request(static_cast<int64_t>(held) - s_.request_held);
  }
  if (ended_) return;
  if (!reader_.idle() && !s_.have_request && !gunzip_) {
    owner_.message_under_way(*this);
    if (const size_t announced = reader_.announced_bytes())
      owner_.want_window(*this, announced + kPrefixBytes);
  } else if (method_->kind == MethodKind::kBidiStream) {
    owner_.message_complete(*this);
  }
}

bool ServerCall::unpack_message() {
  const uint8_t flag = reader_.flag();
  if (s_.have_request) {  // a second message; only a server stream gets here
    bad_message(GrpcStatus::kInternal,
                "cardinality violation: received multiple request messages for non-client-streaming RPC");
    return false;
  }
  if (flag > 1) {
    bad_message(GrpcStatus::kInternal, fmt::format("grpc: received unexpected payload format {}", flag));
    return false;
  }
  if (flag == 1) {
    if (!s_.has_encoding) {
      bad_message(GrpcStatus::kInternal, "grpc: compressed flag set with identity or empty encoding");
      return false;
    }
    unzipped_.clear();
    unzipped_all_ = false;
    gunzip_ = std::make_unique<Gunzip>(reader_.message(), owner_.context().limits.max_received_message_bytes);
    // Not before those that wait already.
    if (!owner_.coding() && owner_.may_code_now(reader_.message().size()) && unzip_step()) {
      gunzip_.reset();
      return true;
    }
    if (gunzip_) owner_.code_later(*this);
    return false;
  }
  return true;
}

void ServerCall::deliver_message() {
  owner_.session().add_work(kMessageWork);
  if (method_->kind == MethodKind::kBidiStream) {
    const size_t bytes = reader_.message().size();
    listener_->on_message(reader_.message());
    if (!s_.bad_message) owner_.context().probe.received(*method_, bytes);
    reader_.next();
    reader_.shrink(kKeepBytes);
    return;
  }
  s_.have_request = true;
  request_.swap(reader_.message());
  reader_.next();
  if (method_->kind == MethodKind::kServerStream)
    return;  // waits for the half-close: there may be a second message
  owner_.message_complete(*this);
  s_.input = Input::kDone;
  started_ = owner_.now();
  if (owner_.may_serve(*this)) {
    serve();
  } else {
    s_.phase = Phase::kParked;
  }
}

void ServerCall::serve() {
  s_.phase = Phase::kServing;
  s_.served = true;
  const size_t bytes = request_.size();
  method_->unary->call(*this, request_);
  if (s_.counted == Counted::kUndecodable) return;
  count_started();
  owner_.context().probe.received(*method_, bytes);
}

void ServerCall::on_half_close() {
  s_.half_closed = true;
  if (ended_ || paused() || !pending_.empty()) return;
  end_of_messages();
}

void ServerCall::end_of_messages() {
  const bool cut = reader_.in_body();
  switch (method_->kind) {
    case MethodKind::kUnary:
      if (!s_.have_request) bad_message(GrpcStatus::kUnknown, cut ? "unexpected EOF" : "EOF");
      break;
    case MethodKind::kServerStream: {
      owner_.message_complete(*this);
      if (cut) return bad_message(GrpcStatus::kInternal, "unexpected EOF");
      if (!s_.have_request) {
        return bad_message(
            GrpcStatus::kInternal,
            "cardinality violation: received no request message from non-client-streaming RPC");
      }
      s_.input = Input::kDone;
      listener_->on_message(request_);
      if (!s_.bad_message) owner_.context().probe.received(*method_, request_.size());
      break;
    }
    case MethodKind::kBidiStream:
      owner_.message_complete(*this);
      if (cut) return bad_message(GrpcStatus::kInternal, "unexpected EOF");
      s_.input = Input::kDone;
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
  const bool unary = method_->kind == MethodKind::kUnary;
  s_.bad_message = true;
  if (unary) s_.counted = Counted::kUndecodable;
  finish(GrpcStatus::kInternal, fmt::format("{}: {}",
                                            unary ? "grpc: error unmarshalling request"
                                                  : "grpc: failed to unmarshal the received message",
                                            detail));
}

void ServerCall::pause_reading() {
  if (s_.input == Input::kOpen) s_.input = Input::kPaused;
}

void ServerCall::resume_reading() {
  if (s_.input != Input::kPaused) return;
  s_.input = Input::kOpen;
  if (s_.delivering) return;  // the loop below on_message() goes on by itself
  read_on();
}

// What arrived while the call was paused() is read, as far as it may be.
void ServerCall::read_on() {
  if (gunzip_) {
    if (!unzipped_all_) return;  // code_step() calls this again after the last step
    gunzip_.reset();
    s_.delivering = true;
    deliver_message();
    s_.delivering = false;
    account_read();
  }
  if (s_.input == Input::kDone) {
    http2::empty(pending_, kKeepBytes);
    return;
  }
  if (paused()) return;
  std::string bytes;
  bytes.swap(pending_);
  if (!bytes.empty()) read(bytes);
  if (paused() || ended_) return;
  if (owed_stream > 0) {
    owner_.session().consume_stream(stream_, owed_stream);
    owed_stream = 0;
    owner_.output_ready();
  }
  if (s_.half_closed && s_.input != Input::kDone) end_of_messages();
}

// ---------------------------------------------------------------- facts

std::optional<std::string_view> ServerCall::metadata(std::string_view key) const {
  if (is_reserved_header(key)) return std::nullopt;
  return headers_.find(key);
}
std::shared_ptr<const void> ServerCall::work() const {
  if (!work_ && !ended_) work_ = std::make_shared<WorkForCall>(owner_.left_behind());
  return work_;
}
std::string_view ServerCall::peer_address() const {
  return owner_.peer().address;
}
std::optional<std::string_view> ServerCall::tls_common_name() const {
  return owner_.peer().tls_common_name;
}

}  // namespace quoin::grpc
