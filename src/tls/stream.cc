#include "tls/stream.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace quoin::tls {
namespace {
// For an alert to leave, as Go's Close() gives its close_notify.
constexpr int64_t kLastWordsNs = 5 * io::kSecond;
}  // namespace

std::string_view Stream::Piece::rest() const {
  const std::string_view all = std::holds_alternative<Blob>(bytes)
                                   ? std::get<Blob>(bytes).view()
                                   : std::string_view(std::get<std::string>(bytes));
  return all.substr(sent);
}

Stream::Stream(std::unique_ptr<io::Stream> inner, StreamOptions options, Done done)
    : inner_(std::move(inner)), options_(std::move(options)), loop_(inner_->loop()), done_(std::move(done)) {
  CHECK(options_.timers != nullptr && options_.credentials != nullptr);
  held_ = std::move(options_.received);
  inner_->pause_reading();
  inner_->set_handler(this);
  timer_ = options_.timers->schedule(options_.handshake_timeout_ns, loop_,
                                     [this] { fail(io_error("i/o timeout"), false); });
  // `done` must not run within the constructor, and a client's first step could fail.
  loop_.post([this, alive = Alive(alive_)] {
    if (alive.expired() || phase_ != Phase::kWaiting) return;
    if (options_.limit == nullptr) return begin({});
    waiter_ = options_.limit->enter(loop_, [this, alive](HandshakeLimit::Place place) {
      if (!alive.expired()) begin(std::move(place));
    });
  });
}

Stream::~Stream() = default;

// ---- the handshake

void Stream::begin(HandshakeLimit::Place place) {
  if (phase_ != Phase::kWaiting) return;
  place_ = std::move(place);
  phase_ = Phase::kHandshake;
  session_ = std::make_shared<Session>(options_.credentials, options_.session);
  if (!held_.empty()) session_->feed(std::exchange(held_, {}));
  if (inner_eof_) session_->feed_eof();
  run_step();
}

void Stream::run_step() {
  if (step_running_ || phase_ != Phase::kHandshake) return;
  // The session may have failed over its first bytes.
  if (session_->state() != Session::State::kHandshake) return after_step();
  if (!session_->wants_step()) return update_reading();
  if (options_.handshakes == nullptr) {
    session_->step();
    return after_step();
  }
  step_running_ = true;
  update_reading();
  options_.handshakes->post([this, session = session_, loop = &loop_, alive = Alive(alive_)] {
    session->step();
    loop->post([this, alive] {
      if (alive.expired()) return;
      step_running_ = false;
      after_step();
    });
  });
}

void Stream::after_step() {
  if (phase_ != Phase::kHandshake) return;
  switch (session_->state()) {
    case Session::State::kFailed:
      return fail(*session_->error(), session_->error()->text() == "EOF");
    case Session::State::kHandshake:
      flush();
      session_->feed(std::exchange(held_, {}));
      if (inner_eof_) session_->feed_eof();
      return run_step();
    case Session::State::kOpen:
      flush();
      session_->feed(std::exchange(held_, {}));
      if (inner_eof_) session_->feed_eof();
      return check_names();
  }
}

void Stream::check_names() {
  place_ = {};
  const Identity& who = session_->identity();
  if (options_.san_lookup == nullptr || !who.has_certificate || options_.credentials->role() != Role::kServer)
    return finish_handshake();
  phase_ = Phase::kCheck;
  update_reading();
  timer_ = options_.timers->schedule(options_.san_timeout_ns, loop_,
                                     [this] { fail(io_error("i/o timeout"), false); });
  const Alive alive(alive_);
  auto check = check_san(who.names, inner_->peer_address(), *options_.san_lookup, [this, alive](Result<> ok) {
    if (alive.expired() || phase_ != Phase::kCheck) return;
    if (ok) return finish_handshake();
    // As Go closes a connection that stands: no alert, but close_notify.
    session_->close();
    fail(ok.error(), false);
  });
  if (!alive.expired() && phase_ == Phase::kCheck) san_check_ = std::move(check);
}

void Stream::finish_handshake() {
  phase_ = Phase::kOpen;
  timer_.reset();
  san_check_.reset();
  if (!tell({Result<>(), session_->take_identity(), false})) return;
  if (phase_ != Phase::kOpen) return;
  if (!out_.empty() || shutdown_wanted_) schedule_encrypt();
  if (session_->input_bytes() > 0 || inner_eof_) schedule_deliver();
  update_reading();
}

bool Stream::tell(HandshakeOutcome outcome) {
  const Alive alive(alive_);
  if (auto done = std::exchange(done_, nullptr)) done(std::move(outcome));
  return !alive.expired();
}

Error Stream::io_error(std::string_view why) const {
  const bool unix_socket = peer_address().starts_with('@') || peer_address().starts_with('/');
  return make_error(Code::kIo, "read {} {}->{}: {}", unix_socket ? "unix" : "tcp", local_address(),
                    peer_address(), why);
}

void Stream::fail(Error error, bool eof) {
  if (phase_ == Phase::kClosing) return;
  const bool handshake = phase_ != Phase::kOpen;
  const bool step_runs = step_running_;
  phase_ = Phase::kClosing;
  close_error_ = error;
  timer_.reset();
  waiter_.reset();
  place_ = {};
  out_.clear();
  out_bytes_ = 0;
  HandshakeOutcome outcome{error, {}, eof};
  // What a running step works on is not to be touched.
  if (session_ != nullptr && !step_runs) {
    flush();
    if (handshake) outcome.identity = session_->take_identity();
  }
  update_reading();
  inner_->shutdown();
  // Whoever does not take its alert loses it.
  timer_ = options_.timers->schedule(kLastWordsNs, loop_, [this] { inner_->close(); });
  if (!tell(std::move(outcome))) return;
  close_when_drained();
}

void Stream::close_when_drained() {
  if (inner_->queued_bytes() == 0) inner_->close();
}

// ---- in

void Stream::on_data(std::string_view bytes) {
  if (phase_ == Phase::kClosing) return;
  if (session_ == nullptr || step_running_) {
    held_.append(bytes);
    return;
  }
  session_->feed(bytes);
  if (phase_ == Phase::kHandshake) return run_step();
  if (phase_ == Phase::kOpen) deliver();
}

void Stream::on_eof() {
  if (phase_ == Phase::kClosing) return;
  inner_eof_ = true;
  if (session_ == nullptr || step_running_) return;
  session_->feed_eof();
  if (phase_ == Phase::kHandshake) return run_step();
  if (phase_ == Phase::kOpen) deliver();
}

void Stream::schedule_deliver() {
  if (std::exchange(deliver_scheduled_, true)) return;
  loop_.post([this, alive = Alive(alive_)] {
    if (alive.expired()) return;
    deliver_scheduled_ = false;
    deliver();
  });
}

void Stream::deliver() {
  const Alive alive(alive_);
  std::array<char, kRecordBytesMax> buffer;
  size_t turn = 0;
  while (phase_ == Phase::kOpen && handler_ != nullptr && !paused_) {
    if (turn >= kTurnBytes) {
      schedule_deliver();
      break;
    }
    const size_t n = session_->read(buffer);
    if (n == 0) break;
    turn += n;
    handler_->on_data({buffer.data(), n});
    if (alive.expired()) return;
  }
  if (phase_ != Phase::kOpen) return;
  flush();
  if (session_->state() == Session::State::kFailed) return fail(*session_->error(), false);
  if (session_->at_end() && handler_ != nullptr && !std::exchange(eof_told_, true)) {
    handler_->on_eof();
    if (alive.expired()) return;
  }
  update_reading();
}

void Stream::update_reading() {
  bool wanted = false;
  if (phase_ == Phase::kHandshake) wanted = !step_running_;
  if (phase_ == Phase::kOpen)
    wanted = handler_ != nullptr && !paused_ && !deliver_scheduled_ && !session_->at_end() &&
             inner_->queued_bytes() <= 2 * kInnerQueueMax;
  if (wanted == inner_reading_) return;
  inner_reading_ = wanted;
  if (wanted) {
    inner_->resume_reading();
  } else {
    inner_->pause_reading();
  }
}

void Stream::set_handler(io::StreamHandler* handler) {
  handler_ = handler;
  if (phase_ != Phase::kOpen) return;
  if (handler != nullptr) schedule_deliver();
  update_reading();
}

void Stream::pause_reading() {
  paused_ = true;
  update_reading();
}

void Stream::resume_reading() {
  paused_ = false;
  // The session may hold records that came before.
  if (phase_ == Phase::kOpen) schedule_deliver();
}

// ---- out

void Stream::write(std::string bytes) {
  if (phase_ == Phase::kClosing || shutdown_wanted_ || bytes.empty()) return;
  out_bytes_ += bytes.size();
  out_.push_back({std::move(bytes)});
  schedule_encrypt();
}

void Stream::write(Blob bytes) {
  if (phase_ == Phase::kClosing || shutdown_wanted_ || bytes.empty()) return;
  out_bytes_ += bytes.size();
  out_.push_back({std::move(bytes)});
  schedule_encrypt();
}

size_t Stream::queued_bytes() const {
  return out_bytes_ + inner_->queued_bytes();
}

void Stream::shutdown() {
  if (phase_ == Phase::kClosing || std::exchange(shutdown_wanted_, true)) return;
  schedule_encrypt();
}

// What a round writes in small pieces becomes few records.
void Stream::schedule_encrypt() {
  if (phase_ != Phase::kOpen || std::exchange(encrypt_scheduled_, true)) return;
  loop_.at_end_of_round([this, alive = Alive(alive_)] {
    if (alive.expired()) return;
    encrypt_scheduled_ = false;
    encrypt();
  });
}

bool Stream::encrypt_turn() {
  std::string gathered;
  size_t turn = 0;
  while (!out_.empty() && inner_->queued_bytes() < kInnerQueueMax) {
    if (turn >= kTurnBytes) return true;
    Piece& front = out_.front();
    std::string_view part = front.rest().substr(0, kRecordBytesMax);
    if (part.size() < kRecordBytesMax && out_.size() > 1) {
      // Small pieces share a record.
      gathered.clear();
      while (!out_.empty() && gathered.size() < kRecordBytesMax) {
        const std::string_view more = out_.front().rest().substr(0, kRecordBytesMax - gathered.size());
        gathered.append(more);
        out_.front().sent += more.size();
        if (out_.front().rest().empty()) out_.pop_front();
      }
      part = gathered;
      session_->write(part);
    } else {
      session_->write(part);
      front.sent += part.size();
    }
    turn += part.size();
    out_bytes_ -= part.size();
    if (!out_.empty() && out_.front().rest().empty()) out_.pop_front();
    if (session_->state() == Session::State::kFailed) return false;
    // Half a turn at a time, so that the inner stream's queue is looked at.
    if (turn % (kTurnBytes / 2) < kRecordBytesMax) flush();
  }
  return false;
}

void Stream::encrypt() {
  if (phase_ != Phase::kOpen) return;
  const bool more = encrypt_turn();
  flush();
  if (session_->state() == Session::State::kFailed) return fail(*session_->error(), false);
  if (more) {
    // The others of the loop have their turn first.
    if (std::exchange(encrypt_scheduled_, true)) return;
    loop_.post([this, alive = Alive(alive_)] {
      if (alive.expired()) return;
      encrypt_scheduled_ = false;
      encrypt();
    });
    return;
  }
  if (out_.empty() && shutdown_wanted_ && !std::exchange(shutdown_done_, true)) {
    session_->close();
    flush();
    inner_->shutdown();
  }
}

void Stream::flush() {
  if (session_->has_output()) inner_->write(session_->take_output());
}

void Stream::on_drained() {
  if (phase_ == Phase::kClosing) return close_when_drained();
  if (phase_ != Phase::kOpen) return;
  if (!out_.empty()) return encrypt();
  const Alive alive(alive_);
  if (handler_ != nullptr) handler_->on_drained();
  if (alive.expired()) return;
  update_reading();
}

// ---- the end

void Stream::close() {
  if (phase_ != Phase::kClosing) {
    phase_ = Phase::kClosing;
    done_ = nullptr;
    timer_.reset();
    waiter_.reset();
    san_check_.reset();
    place_ = {};
    out_.clear();
    out_bytes_ = 0;
  }
  inner_->close();
}

void Stream::on_closed(Result<> error) {
  const Alive alive(alive_);
  timer_.reset();
  if (phase_ != Phase::kClosing) {
    const bool handshake = phase_ != Phase::kOpen;
    phase_ = Phase::kClosing;
    waiter_.reset();
    san_check_.reset();
    place_ = {};
    close_error_ = error;
    if (handshake &&
        !tell({io_error(error ? "use of closed network connection" : error.error().text()), {}, false}))
      return;
  }
  if (io::StreamHandler* handler = std::exchange(handler_, nullptr)) handler->on_closed(close_error_);
}

}  // namespace quoin::tls
