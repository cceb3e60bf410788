#include "grpc/transport.h"

#include <utility>

#include "base/check.h"

namespace quoin::grpc {

ServerTransport::ServerTransport(ServerContext& context, std::unique_ptr<io::Stream> stream, PeerInfo peer,
                                 io::Clock& clock, io::TimerService& timers, std::string_view received,
                                 Task closed)
    : stream_(std::move(stream)),
      clock_(clock),
      timers_(timers),
      turns_(*context.turns),
      connection_(context, std::move(peer), *this, clock.monotonic()),
      closed_(std::move(closed)),
      alive_(std::make_shared<ServerTransport*>(this)) {
  stream_->set_handler(this);
  if (!received.empty()) {
    on_data(received);
  } else {
    schedule_flush();
  }
}

ServerTransport::~ServerTransport() {
  *alive_ = nullptr;
}

void ServerTransport::shutdown() {
  if (state_ != State::kOpen) return;
  state_ = State::kDraining;
  arm_limit(kDrainNs);
  connection_.shutdown(clock_.monotonic());
  schedule_flush();
}

void ServerTransport::close() {
  cut(CancelReason::kServerStopped);
}

size_t ServerTransport::calls_in_progress() const {
  return connection_.calls_in_progress();
}

// ---------------------------------------------------------------- the end

// The way to `closed` for everybody: what is queued is dropped.
void ServerTransport::cut(CancelReason reason) {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  timer_.reset();
  limit_.reset();
  blocked_.reset();
  connection_.close(reason);
  stream_->close();
}

// What the connection still has to say (the GOAWAY that names the reason) goes out, then the socket's end.
void ServerTransport::part() {
  if (!serving()) return;
  (void)connection_.produce(out_, kOutputHigh);
  state_ = State::kParting;
  timer_.reset();
  arm_limit(kPartingNs);
  write_out();
  connection_.close(CancelReason::kConnectionLost);
  stream_->shutdown();
  regulate_input();
}

// Time is up in the state in which the limit was set.
void ServerTransport::arm_limit(int64_t ns) {
  limit_ = timers_.schedule(ns, stream_->loop(), [alive = alive_, state = state_] {
    ServerTransport* self = *alive;
    if (!self || self->state_ != state) return;
    self->connection_.bound_reached(Bound::kDrain);
    self->cut(CancelReason::kServerStopped);
  });
}

void ServerTransport::on_eof() {
  // An HTTP/2 client that half-closes its socket is gone.
  cut(CancelReason::kConnectionLost);
}

void ServerTransport::on_closed(Result<>) {
  state_ = State::kClosed;
  timer_.reset();
  limit_.reset();
  blocked_.reset();
  connection_.close(CancelReason::kConnectionLost);
  // The owner destroys this object in there or soon after.
  Task closed = std::move(closed_);
  if (closed) closed();
}

// ---------------------------------------------------------------- bytes

void ServerTransport::on_data(std::string_view bytes) {
  if (!serving()) return;
  fed_bytes_ += bytes.size();
  feed(bytes);
}

void ServerTransport::feed(std::string_view bytes) {
  if (!connection_.feed(bytes, clock_.monotonic())) return part();
  schedule_flush();
  regulate_input();
}

void ServerTransport::on_drained() {
  if (!serving()) return;
  // The client took bytes while it was not listened to: that is a sign of life.
  if (input_paused_) connection_.heard(clock_.monotonic());
  regulate_input();
  schedule_flush();
}

void ServerTransport::regulate_input() {
  const bool full = serving() && stream_->queued_bytes() >= kOutputHigh;
  const bool blocked = serving() && connection_.blocked();
  const bool unfed = serving() && (connection_.unfed() || connection_.coding_full());
  const bool pause = full || blocked || unfed || (serving() && fed_bytes_ >= kInputHigh);
  if (blocked && !blocked_) look_again();
  if (pause == input_paused_) return;
  input_paused_ = pause;
  if (!pause) return stream_->resume_reading();
  stream_->pause_reading();
  if (full) connection_.bound_reached(Bound::kOutput);
  if (blocked) connection_.bound_reached(Bound::kWork);
}

// What one feed() or one step of compression left goes on behind what else waits for a turn of the loop.
void ServerTransport::want_turn() {
  if (!(connection_.unfed() || connection_.coding()) || std::exchange(turn_wanted_, true)) return;
  turns_.add([alive = alive_] {
    if (ServerTransport* self = *alive) self->take_turn();
  });
}

void ServerTransport::take_turn() {
  turn_wanted_ = false;
  if (!serving()) return;
  if (connection_.coding()) {
    connection_.code(clock_.monotonic());
    schedule_flush();
  }
  if (connection_.unfed() && !connection_.coding_full()) feed({});
}

// The work ends on other threads, which know nothing of this connection.
void ServerTransport::look_again() {
  blocked_ = timers_.schedule(kBlockedNs, stream_->loop(), [alive = alive_] {
    ServerTransport* self = *alive;
    if (!self) return;
    self->blocked_.reset();
    self->regulate_input();
  });
}

void ServerTransport::output_ready() {
  schedule_flush();
}

void ServerTransport::schedule_flush() {
  if (flush_scheduled_ || !serving()) return;
  flush_scheduled_ = true;
  io::Loop& loop = stream_->loop();
  auto flush = [alive = alive_] {
    if (ServerTransport* self = *alive) self->flush();
  };
  if (loop.running_here()) {
    loop.at_end_of_round(std::move(flush));
  } else {
    loop.post(std::move(flush));
  }
}

void ServerTransport::write_out() {
  while (!out_.empty()) {
    auto piece = out_.pop();
    if (piece.shared.empty()) {
      stream_->write(std::move(piece.own));
    } else {
      stream_->write(std::move(piece.shared));
    }
  }
}

void ServerTransport::flush() {
  flush_scheduled_ = false;
  if (!serving()) return;
  fed_bytes_ = 0;
  const size_t queued = stream_->queued_bytes();
  if (queued < kOutputHigh) {
    if (!connection_.produce(out_, kOutputHigh - queued)) return part();
    write_out();
  }
  if (connection_.done()) return part();
  regulate_input();
  want_turn();
  // More waits and nothing is queued (the stream wrote all of it at once): no on_drained() will come.
  if (connection_.wants_write() && stream_->queued_bytes() == 0) schedule_flush();
  arm_timer();
}

// One timer a connection. Deadlines mostly grow, so it is set anew only for an earlier one; a timer that
// fires too early costs a look.
void ServerTransport::arm_timer() {
  const io::MonotonicNs next = connection_.next_tick();
  if (next == kNoDeadline || (timer_ && armed_for_ <= next)) return;
  armed_for_ = next;
  timer_ = timers_.schedule(next - clock_.monotonic(), stream_->loop(), [alive = alive_] {
    ServerTransport* self = *alive;
    if (!self || !self->serving()) return;
    self->timer_.reset();
    // A client that does not answer a ping gets no farewell: it would not read it.
    if (!self->connection_.tick(self->clock_.monotonic())) return self->cut(CancelReason::kConnectionLost);
    self->arm_timer();
    self->schedule_flush();
  });
}

}  // namespace quoin::grpc
