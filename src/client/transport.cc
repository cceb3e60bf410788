#include "client/transport.h"

#include <algorithm>
#include <utility>

#include "base/go_text.h"
#include "tls/stream.h"

namespace quoin::client {
namespace {

grpc::ClientConnection::Options call_options(const ConnectionOptions& o, const Endpoint& endpoint, bool tls) {
  return {.authority = endpoint.authority,
          .user_agent = o.user_agent,
          .https = tls,
          .max_message_bytes = o.max_receive_bytes,
          .stream_window_bytes = o.stream_window_bytes};
}

}  // namespace

Transport::Transport(const Environment& environment, const ConnectionOptions& options,
                     const Endpoint& endpoint, bool tls, std::unique_ptr<io::Stream> stream, Owner& owner)
    : env_(environment),
      options_(options),
      owner_(&owner),
      calls_(call_options(options, endpoint, tls)),
      stream_(std::move(stream)),
      peer_address_(stream_->peer_address()),
      heard_(environment.clock.monotonic()),
      alive_(std::make_shared<Transport*>(this)) {
  if (tls) {
    tls::StreamOptions o;
    o.credentials = options.tls.credentials();
    o.session.host = endpoint.address.unix_socket ? "" : endpoint.address.host;
    o.session.alpn = {"h2"};
    o.handshakes = options.tls.handshakes;
    o.timers = &environment.timers;
    stream_ = std::make_unique<tls::Stream>(
        std::move(stream_), std::move(o), [this](tls::HandshakeOutcome outcome) {
          if (outcome.result) return;
          handshake_failed_ = true;  // on_closed() follows
          handshake_error_ =
              fmt::format("transport: authentication handshake failed: {}", outcome.result.error().text());
        });
  }
  if (options_.keepalive_time_ns > 0) stream_->set_unacknowledged_timeout(options_.keepalive_timeout_ns);
  stream_->set_handler(this);
  output_ready();
}

Transport::~Transport() {
  *alive_ = nullptr;
}

void Transport::retire(std::unique_ptr<Transport> transport) {
  if (transport == nullptr) return;
  transport->owner_ = nullptr;
  transport->timer_.reset();
  transport->lost_ = true;
  transport->stream_->close();
  io::Loop& loop = transport->env_.loop;
  loop.post([transport = std::move(transport)]() mutable { transport.reset(); });
}

// ---- output ----

void Transport::output_ready() {
  if (std::exchange(flush_scheduled_, true)) return;
  env_.loop.at_end_of_round([alive = alive_] {
    if (Transport* self = *alive) self->flush();
  });
}

void Transport::flush() {
  flush_scheduled_ = false;
  if (lost_) return;
  const size_t queued = stream_->queued_bytes();
  if (queued >= kOutputHigh) return;  // on_drained() goes on
  if (const Result<> r = calls_.produce(out_, kOutputHigh - queued); !r) return lose(r.error().text());
  if (lost_) return;
  while (!out_.empty()) {
    http2::ByteQueue::Piece piece = out_.pop();
    if (piece.shared.empty()) {
      stream_->write(std::move(piece.own));
    } else {
      stream_->write(std::move(piece.shared));
    }
  }
}

void Transport::on_drained() {
  if (!lost_ && calls_.wants_write()) output_ready();
}

// ---- input ----

void Transport::on_data(std::string_view bytes) {
  if (lost_) return;
  heard_ = env_.clock.monotonic();
  pinged_ = 0;
  const Result<> fed = calls_.feed(bytes, heard_);
  if (lost_) return;
  if (!fed) return lose(fed.error().text());
  output_ready();
  if (!ready_ && calls_.ready()) {
    ready_ = true;
    arm();
    if (owner_) owner_->on_ready(*this);
  }
  if (!lost_ && !draining_ && calls_.going_away()) {
    draining_ = true;
    if (owner_) owner_->on_draining(*this);
  }
  if (!lost_ && draining_ && calls_.open_calls() == 0) lose("the connection is draining");
}

void Transport::on_eof() {
  lose("EOF");
}

void Transport::on_closed(Result<> error) {
  lose(error ? "use of closed network connection" : error.error().text());
}

void Transport::lose(std::string_view why) {
  if (std::exchange(lost_, true)) return;
  timer_.reset();
  std::string text;
  if (handshake_failed_) {
    text = handshake_error_;
  } else {
    text = fmt::format("error reading {}: {}", ready_ ? "from server" : "server preface", why);
  }
  stream_->close();
  calls_.close(GrpcStatus::kUnavailable, text);
  if (owner_) owner_->on_lost(*this, fmt::format("connection error: desc = {}", go_quote(text)));
}

// ---- keepalive ----

void Transport::arm() {
  if (options_.keepalive_time_ns <= 0 || lost_) return;
  const int64_t every = std::max(options_.keepalive_time_ns, ConnectionOptions::kKeepaliveMinNs);
  const io::MonotonicNs now = env_.clock.monotonic();
  const io::MonotonicNs due = pinged_ > 0 ? pinged_ + options_.keepalive_timeout_ns : heard_ + every;
  timer_ = env_.timers.schedule(std::max<int64_t>(due - now, 0), env_.loop, [this] { look_after(); });
}

void Transport::look_after() {
  timer_.reset();
  if (lost_) return;
  const int64_t every = std::max(options_.keepalive_time_ns, ConnectionOptions::kKeepaliveMinNs);
  const io::MonotonicNs now = env_.clock.monotonic();
  if (pinged_ > 0 && now - pinged_ >= options_.keepalive_timeout_ns) {
    return lose("keepalive ping failed to receive ACK within timeout");
  }
  if (pinged_ == 0 && now - heard_ >= every) {
    if (calls_.open_calls() > 0 || options_.keepalive_without_calls) {
      pinged_ = now;
      calls_.ping(1);
      output_ready();
    } else {
      heard_ = now;  // asked again when as much time has passed
    }
  }
  arm();
}

}  // namespace quoin::client
