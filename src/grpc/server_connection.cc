#include "grpc/server_connection.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/go_text.h"
#include "grpc/http_stream.h"
#include "grpc/protocol.h"
#include "grpc/server_impl.h"

namespace quoin::grpc {
namespace {
// Finished calls kept for reuse.
constexpr size_t kFreeCallsMax = 64;
constexpr uint64_t kDrainPing = 0x6e696f7571ull;
constexpr uint64_t kKeepalivePing = 0x6576696c61ull;

http2::Limits http2_limits(const ConnectionLimits& limits) {
  http2::Limits l;
  l.max_concurrent_streams = limits.max_concurrent_streams;
  return l;
}
}  // namespace

using Impl = ServerConnection::Impl;

Impl::Impl(ServerContext& context, PeerInfo peer, Notify& notify, io::MonotonicNs now)
    : context_(context),
      peer_(std::move(peer)),
      notify_(notify),
      now_(now),
      police_(context.limits.keepalive_min_time_ns),
      keepalive_(context.limits.keepalive_interval_ns, context.limits.keepalive_timeout_ns, now),
      session_(http2::Session::Role::kServer, *this, http2_limits(context.limits)) {}

Impl::~Impl() {
  close(CancelReason::kConnectionLost);
  for (auto& call : live_) call->release();
  http_.clear();
  context_.memory.add(-(held() - unreported_));
}

// ---------------------------------------------------------------- bytes and time

Result<> Impl::feed(std::string_view bytes, io::MonotonicNs now) {
  Busy busy(busy_);
  now_ = now;
  keepalive_.on_read(now);
  const Result<> fed = session_.feed(bytes, now);
  const auto unfinished = static_cast<int64_t>(session_.unfinished_header_bytes());
  hold_headers(unfinished - std::exchange(unfinished_headers_, unfinished));
  if (!fed) {
    if (fed.error().code() == Code::kLimit) tell(Bound::kFlood);
    return fed;
  }
  settle_credit();
  if (too_many_pings_) return make_error(Code::kLimit, "too_many_pings");
  return {};
}

Result<> Impl::produce(http2::ByteQueue& out, size_t limit) {
  Busy busy(busy_);
  coded_bytes_ = 0;
  for (;;) {
    const size_t before = out.size();
    settle_credit();
    TRY(session_.produce(out, limit));
    // Told only now: a service must not be called from within the library's sending.
    std::vector<CallId> ids;
    ids.swap(writable_);
    for (const CallId id : ids) {
      if (Call* call = context_.calls.find(id)) static_cast<ServerCall*>(call)->on_writable();
    }
    serve_parked();
    settle_credit();
    if (out.size() == before || out.size() >= limit || !session_.wants_write()) break;
  }
  return {};
}

io::MonotonicNs Impl::next_tick() const {
  const io::MonotonicNs deadline = deadlines_.empty() ? kNoDeadline : deadlines_.top().deadline();
  return std::min({deadline, keepalive_.next(), notice_until_});
}

Result<> Impl::tick(io::MonotonicNs now) {
  Busy busy(busy_);
  now_ = now;
  while (!deadlines_.empty() && deadlines_.top().deadline() <= now) {
    ServerCall& call = deadlines_.top();
    call.cancel(CancelReason::kDeadline);
    session_.reset(call.stream(), http2::ErrorCode::kCancel);
  }
  if (now >= notice_until_) send_goaway();
  switch (keepalive_.tick(now)) {
    case Keepalive::Action::kNone:
      break;
    case Keepalive::Action::kPing:
      session_.submit_ping(kKeepalivePing);
      break;
    case Keepalive::Action::kGiveUp:
      tell(Bound::kSilence);
      return make_error(Code::kStopped, "keepalive ping not answered");
  }
  return {};
}

void Impl::output_ready() {
  if (busy_ == 0) notify_.output_ready();
}

// ---------------------------------------------------------------- stopping

void Impl::shutdown(io::MonotonicNs now) {
  if (stop_ != Stop::kNo) return;
  now_ = now;
  stop_ = Stop::kNotice;
  notice_until_ = now_ + ServerConnection::kDrainPingNs;
  // The last stream id follows once the client has seen the notice: no stream of its is lost in between.
  session_.submit_shutdown_notice();
  session_.submit_ping(kDrainPing);
  output_ready();
}

void Impl::send_goaway() {
  if (stop_ != Stop::kNotice) return;
  stop_ = Stop::kGoaway;
  notice_until_ = kNoDeadline;
  session_.submit_goaway(http2::ErrorCode::kNoError);
}

bool Impl::done() const {
  if (stop_ == Stop::kClosed || session_.done()) return true;
  return stop_ == Stop::kGoaway && !streams_open() && !session_.wants_write();
}

void Impl::close(CancelReason reason) {
  stop_ = Stop::kClosed;
  notice_until_ = kNoDeadline;
  // A service may end other calls of this connection while one is cancelled, but opens none.
  for (size_t i = 0; i < live_.size(); ++i) live_[i]->cancel(reason);
  for (auto& stream : http_) stream->cancel();
}

// ---------------------------------------------------------------- streams

void Impl::on_headers(http2::StreamId id, void*, http2::HeaderBlock& headers, bool end_stream) {
  const RequestHead head = read_request_head(headers);
  if (context_.http != nullptr && !(head.grpc && context_.serves_grpc)) {
    const bool full = http_.size() >= ServerConnection::kHttpStreams;
    if (full) tell(Bound::kAnswers);
    if (full || stop_ == Stop::kClosed) return session_.reset(id, http2::ErrorCode::kRefusedStream);
    session_.add_work(kCallWork);
    http_.push_back(std::make_unique<HttpStream>(*this, id, headers));
    session_.set_stream_user(id, static_cast<ServerStream*>(http_.back().get()));
    http_.back()->start(end_stream);
    return refuse_youngest();
  }
  if (head.refusal) return refuse(id, *head.refusal, head.subtype);
  auto found = context_.methods.find(head.path);
  if (auto* text = std::get_if<std::string>(&found)) {
    return refuse(id, {"200", GrpcStatus::kUnimplemented, std::move(*text)}, head.subtype);
  }
  if (!head.encoding.empty() && head.encoding != "gzip") {
    return refuse(
        id,
        {"200", GrpcStatus::kUnimplemented,
         fmt::format("grpc: Decompressor is not installed for grpc-encoding {}", go_quote(head.encoding))},
        head.subtype);
  }
  if (stop_ == Stop::kClosed) return session_.reset(id, http2::ErrorCode::kRefusedStream);

  const Method& method = *std::get<const Method*>(found);
  ServerCall& call = acquire();
  io::MonotonicNs deadline = kNoDeadline;
  if (head.timeout_ns && *head.timeout_ns < kNoDeadline - now_) deadline = now_ + *head.timeout_ns;
  call.open(id, method, headers, head, deadline);
  session_.add_work(kCallWork);
  session_.set_stream_user(id, static_cast<ServerStream*>(&call));
  context_.calls.add(call);
  ++in_progress_;
  if (deadline != kNoDeadline) deadlines_.push(call);
  if (method.kind != MethodKind::kBidiStream) message_under_way(call);
  if (method.kind != MethodKind::kUnary) call.start_stream();
  refuse_youngest();
}

bool Impl::on_headers_too_large(http2::StreamId id) {
  tell(Bound::kHeaders);
  refuse(id, {"200", GrpcStatus::kResourceExhausted, "grpc: received metadata larger than max"}, {});
  return true;
}

void Impl::refuse(http2::StreamId id, const RequestHead::Refusal& refusal, std::string_view subtype) {
  const std::string text = encode_message(refusal.text);
  std::string content_type = "application/grpc";
  if (!subtype.empty()) content_type.append("+").append(subtype);
  const std::array<http2::HeaderField, 4> fields = {{{":status", refusal.http_status, true},
                                                     {"content-type", content_type},
                                                     {"grpc-status", status_digits(refusal.status), true},
                                                     {"grpc-message", text, false, true}}};
  session_.submit_response(id, fields, nullptr);
}

void Impl::on_data(http2::StreamId, void* user, std::string_view bytes) {
  if (!window_raised_) {
    window_raised_ = true;
    session_.raise_window(0, kConnectionWindowBytes);
  }
  static_cast<ServerStream*>(user)->on_data(bytes);
}

void Impl::on_end_stream(http2::StreamId, void* user) {
  static_cast<ServerStream*>(user)->on_half_close();
}

void Impl::on_end_sent(http2::StreamId id, void*, bool remote_open) {
  if (remote_open) session_.reset(id, http2::ErrorCode::kNoError);
}

void Impl::on_stream_closed(http2::StreamId, void* user, http2::ErrorCode) {
  static_cast<ServerStream*>(user)->on_closed();
}

void Impl::retire(ServerCall& call) {
  if (call.method().kind == MethodKind::kUnary && call.was_served()) --unary_streams_;
  call.release();
  const size_t place = call.live_place;
  std::unique_ptr<ServerCall> owned = std::move(live_[place]);
  if (place + 1 < live_.size()) {
    live_[place] = std::move(live_.back());
    live_[place]->live_place = place;
  }
  live_.pop_back();
  if (free_.size() < kFreeCallsMax) free_.push_back(std::move(owned));
}

void Impl::forget(HttpStream& stream) {
  std::erase_if(http_, [&](const auto& s) { return s.get() == &stream; });
}

void Impl::on_ping(bool ack, uint64_t payload) {
  if (ack) {
    if (payload == kDrainPing) send_goaway();
    return;
  }
  if (context_.limits.counts_pings && !police_.on_ping(now_, streams_open()) && !too_many_pings_) {
    too_many_pings_ = true;
    tell(Bound::kFlood);
    session_.terminate(http2::ErrorCode::kEnhanceYourCalm, "too_many_pings");
  }
}

ServerCall& Impl::acquire() {
  if (free_.empty()) {
    live_.push_back(std::make_unique<ServerCall>(*this));
  } else {
    live_.push_back(std::move(free_.back()));
    free_.pop_back();
  }
  live_.back()->live_place = live_.size() - 1;
  return *live_.back();
}

void Impl::call_ended(ServerCall& call) {
  context_.calls.remove(call);
  --in_progress_;
  deadlines_.erase(call);
  if (call.method().kind != MethodKind::kBidiStream) answered(call);
  message_complete(call);
}

// ---------------------------------------------------------------- the public shell

ServerConnection::ServerConnection(ServerContext& context, PeerInfo peer, Notify& notify, io::MonotonicNs now)
    : impl_(std::make_unique<Impl>(context, std::move(peer), notify, now)) {}
ServerConnection::~ServerConnection() = default;
Result<> ServerConnection::feed(std::string_view bytes, io::MonotonicNs now) {
  return impl_->feed(bytes, now);
}
Result<> ServerConnection::produce(http2::ByteQueue& out, size_t limit) {
  return impl_->produce(out, limit);
}
bool ServerConnection::coding() const {
  return impl_->coding();
}
bool ServerConnection::coding_full() const {
  return impl_->coding_full();
}
void ServerConnection::code(io::MonotonicNs now) {
  impl_->code(now);
}
bool ServerConnection::wants_write() const {
  return impl_->wants_write();
}
bool ServerConnection::unfed() const {
  return impl_->unfed();
}
void ServerConnection::heard(io::MonotonicNs now) {
  impl_->heard(now);
}
io::MonotonicNs ServerConnection::next_tick() const {
  return impl_->next_tick();
}
Result<> ServerConnection::tick(io::MonotonicNs now) {
  return impl_->tick(now);
}
void ServerConnection::shutdown(io::MonotonicNs now) {
  impl_->shutdown(now);
}
bool ServerConnection::done() const {
  return impl_->done();
}
void ServerConnection::close(CancelReason reason) {
  impl_->close(reason);
}
size_t ServerConnection::calls_in_progress() const {
  return impl_->calls_in_progress();
}
bool ServerConnection::blocked() const {
  return impl_->blocked();
}
void ServerConnection::bound_reached(Bound bound) {
  impl_->tell(bound);
}
size_t ServerConnection::held_bytes() const {
  return impl_->held_bytes();
}

}  // namespace quoin::grpc
