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
  if (closing_) return;
  connection_.shutdown();
  schedule_flush();
}

void ServerTransport::close() {
  if (closing_) return;
  closing_ = true;
  connection_.close(CancelReason::kServerStopped);
  stream_->close();
}

size_t ServerTransport::calls_in_progress() const {
  return connection_.calls_in_progress();
}

void ServerTransport::on_data(std::string_view bytes) {
  if (closing_) return;
  if (!connection_.feed(bytes, clock_.monotonic())) return fail();
  schedule_flush();
}

// The GOAWAY that names the reason goes out, then the socket's end.
void ServerTransport::fail() {
  if (closing_) return;
  closing_ = true;
  (void)connection_.produce(out_, kOutputHigh);
  while (!out_.empty()) {
    auto piece = out_.pop();
    if (piece.shared.empty()) {
      stream_->write(std::move(piece.own));
    } else {
      stream_->write(std::move(piece.shared));
    }
  }
  connection_.close(CancelReason::kConnectionLost);
  stream_->shutdown();
  if (stream_->queued_bytes() == 0) stream_->close();
}

void ServerTransport::on_eof() {
  // An HTTP/2 client that half-closes its socket is gone.
  if (closing_) return stream_->close();
  closing_ = true;
  connection_.close(CancelReason::kConnectionLost);
  stream_->close();
}

void ServerTransport::on_drained() {
  if (closing_) return stream_->close();
  schedule_flush();
}

void ServerTransport::on_closed(Result<>) {
  closing_ = true;
  timer_.reset();
  connection_.close(CancelReason::kConnectionLost);
  // The owner destroys this object in there or soon after.
  Task closed = std::move(closed_);
  if (closed) closed();
}

void ServerTransport::output_ready() {
  schedule_flush();
}

void ServerTransport::schedule_flush() {
  if (flush_scheduled_ || closing_) return;
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

void ServerTransport::flush() {
  flush_scheduled_ = false;
  if (closing_) return;
  const size_t queued = stream_->queued_bytes();
  if (queued < kOutputHigh) {
    if (!connection_.produce(out_, kOutputHigh - queued)) return fail();
    while (!out_.empty()) {
      auto piece = out_.pop();
      if (piece.shared.empty()) {
        stream_->write(std::move(piece.own));
      } else {
        stream_->write(std::move(piece.shared));
      }
    }
  }
  if (connection_.done()) {
    closing_ = true;
    stream_->shutdown();
    if (stream_->queued_bytes() == 0) stream_->close();
    return;
  }
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
    if (!self || self->closing_) return;
    self->timer_.reset();
    if (!self->connection_.tick(self->clock_.monotonic())) return self->fail();
    self->arm_timer();
    self->schedule_flush();
  });
}

}  // namespace quoin::grpc
