// What a connection may hold, and how its client is held back: windows, waiting calls, refusals.
// Contract: server_connection.h (Bounds).
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "grpc/server_impl.h"

namespace quoin::grpc {
namespace {
// A stream's window is given back in steps; most requests end before the first.
constexpr size_t kStreamCreditStep = 16 * 1024;
// A connection may hold this much even when all connections together hold too much.
constexpr int64_t kHeldFloorBytes = 256 * 1024;
// The shared budget is told in steps, so that connections on different loops do not fight for one cache line.
constexpr int64_t kBudgetStep = 64 * 1024;
// Requests that are not complete may exceed their bound this much before some are refused: the initial
// windows, which nobody can take back, of many streams.
constexpr int64_t kHardBoundFactor = 4;
}  // namespace

using Impl = ServerConnection::Impl;

void Impl::hold(int64_t& what, int64_t delta) {
  what += delta;
  unreported_ += delta;
  if (unreported_ >= kBudgetStep || unreported_ <= -kBudgetStep)
    context_.memory.add(std::exchange(unreported_, 0));
}

void Impl::hold_answer(int64_t delta, bool unary) {
  hold(answer_bytes_, delta);
  if (unary) unary_answer_bytes_ += delta;
}

bool Impl::blocked() const {
  const auto behind = static_cast<size_t>(left_behind_->load(std::memory_order_relaxed));
  return behind > ServerConnection::kWorkAfterCalls;
}

// ---------------------------------------------------------------- headers

size_t Impl::header_room() {
  const auto least = static_cast<int64_t>(ServerConnection::kHeadersAlwaysTaken);
  if (held() > kHeldFloorBytes && context_.memory.exceeded()) return static_cast<size_t>(least);
  const int64_t room = static_cast<int64_t>(context_.limits.header_bytes) - header_bytes_;
  return static_cast<size_t>(std::max(room, least));
}

// ---------------------------------------------------------------- answers

bool Impl::answers_full() const {
  return unary_streams_ >= ServerConnection::kCallsAlwaysServed &&
         (unary_answer_bytes_ > static_cast<int64_t>(context_.limits.answer_bytes) ||
          (unary_answer_bytes_ > kHeldFloorBytes && context_.memory.exceeded()));
}

bool Impl::may_serve(ServerCall& call) {
  if (parked_.empty() && !answers_full()) {
    ++unary_streams_;
    return true;
  }
  if (parked_.empty()) tell(Bound::kAnswers);
  parked_.push_back(call.id());
  return false;
}

void Impl::serve_parked() {
  while (!parked_.empty() && !answers_full()) {
    Call* call = context_.calls.find(parked_.front());
    parked_.pop_front();
    if (!call) continue;  // cancelled while it waited
    ++unary_streams_;
    static_cast<ServerCall*>(call)->serve();
  }
}

// ---------------------------------------------------------------- requests

void Impl::message_under_way(ServerStream& stream) {
  if (stream.under_way) return;
  stream.under_way = true;
  stream.older = youngest_;
  stream.younger = nullptr;
  (youngest_ ? youngest_->younger : oldest_) = &stream;
  youngest_ = &stream;
}

void Impl::message_complete(ServerStream& stream) {
  if (!stream.under_way) return;
  stream.under_way = false;
  if (stream.wanted > 0) --wanting_;
  granted_ -= stream.granted;
  stream.wanted = stream.granted = 0;
  if (stream.waits_for_answer()) ++answering_;
  (stream.older ? stream.older->younger : oldest_) = stream.younger;
  (stream.younger ? stream.younger->older : youngest_) = stream.older;
}

bool Impl::over_bound() const {
  const auto& limits = context_.limits;
  return request_bytes_ > static_cast<int64_t>(limits.request_bytes) ||
         answer_bytes_ > static_cast<int64_t>(limits.answer_bytes) ||
         (held() > kHeldFloorBytes && context_.memory.exceeded());
}

// Whether the windows of a stream whose message is under way may grow: the oldest always, so that something
// moves.
bool Impl::may_grow(const ServerStream& stream) const {
  return &stream == oldest_ || !over_bound();
}

void Impl::give_credit(ServerStream& stream, size_t bytes) {
  // Complete requests make room when they are answered; until then the client waits. Where there are none,
  // waiting would be for ever: the connection's window is shared, and what is missing may stand behind what
  // others sent.
  if (answering_ > 0 && over_bound()) {
    owed_connection_ += bytes;
  } else {
    session_.consume_connection(bytes);
  }
  stream.owed_stream += bytes;
  if (stream.owed_stream >= kStreamCreditStep && !stream.paused()) {
    if (!stream.under_way || may_grow(stream)) {
      session_.consume_stream(stream.stream(), std::exchange(stream.owed_stream, 0));
    } else {
      stream_credit_withheld_ = true;
    }
  }
  refuse_youngest();
}

void Impl::refuse_youngest() {
  const int64_t hard =
      kHardBoundFactor * static_cast<int64_t>(context_.limits.request_bytes) + kConnectionWindowBytes;
  while (request_bytes_ > hard && youngest_ != oldest_) {
    tell(Bound::kRequests);
    youngest_->refuse();
  }
}

void Impl::want_window(ServerStream& stream, size_t message_bytes) {
  if (stream.granted > 0 || stream.wanted > 0 || message_bytes <= http2::Session::kInitialWindowBytes) return;
  stream.wanted = message_bytes;
  ++wanting_;
  grant_windows();
}

// A long message gets a window as long as itself (a round trip instead of one per 64 KiB), as long as all
// such windows fit the bound. In order of age, so that none is overtaken for ever.
void Impl::grant_windows() {
  for (ServerStream* s = oldest_; s && wanting_ > 0; s = s->younger) {
    if (s->wanted == 0) continue;
    if (granted_ > 0 && granted_ + s->wanted > context_.limits.request_bytes) return;
    s->granted = std::exchange(s->wanted, 0);
    granted_ += s->granted;
    --wanting_;
    const size_t window = s->granted + http2::Session::kInitialWindowBytes;
    session_.raise_window(s->stream(), static_cast<uint32_t>(std::min<size_t>(window, INT32_MAX)));
  }
}

void Impl::settle_credit() {
  if (wanting_ > 0) grant_windows();
  const bool over = over_bound();
  if (owed_connection_ > 0 && (!over || answering_ == 0)) {
    session_.consume_connection(std::exchange(owed_connection_, 0));
  }
  if (!stream_credit_withheld_) return;
  stream_credit_withheld_ = over;
  for (ServerStream* s = oldest_; s; s = over ? nullptr : s->younger) {
    if (s->owed_stream > 0 && !s->paused()) {
      session_.consume_stream(s->stream(), std::exchange(s->owed_stream, 0));
    }
  }
}

}  // namespace quoin::grpc
