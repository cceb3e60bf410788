#include "peer/client_link.h"

#include <algorithm>

#include "http1/chunk.h"
#include "peer/context.h"
#include "tls/stream.h"

namespace quoin::peer {

ClientLink::ClientLink(Context& context, Url url, const Times& times, http1::ResponseHandler& handler)
    : context_(context), url_(std::move(url)), times_(times), handler_(&handler), http_(*this) {
  connect();
}

ClientLink::~ClientLink() = default;

void ClientLink::retire(std::unique_ptr<ClientLink> link) {
  if (link == nullptr) return;
  link->handler_ = nullptr;
  link->timer_.reset();
  link->connecting_.reset();
  if (link->stream_ != nullptr) link->stream_->close();
  io::Loop& loop = link->context_.loop;
  loop.post([link = std::move(link)]() mutable { link.reset(); });
}

void ClientLink::connect() {
  connecting_ = context_.network.connect(
      url_.address, {.timeout_ns = times_.dial_ns, .local_address = context_.options.local_address},
      context_.loop, [this](Result<std::unique_ptr<io::Stream>> result) { connected(std::move(result)); });
}

void ClientLink::connected(Result<std::unique_ptr<io::Stream>> result) {
  if (!result) return fail(std::move(result).error());
  stream_ = url_.tls ? secure(std::move(*result)) : std::move(*result);
  stream_->set_handler(this);
  if (!reading_) stream_->pause_reading();
  heard_ = context_.clock.monotonic();
  flush();
  watch();
}

// What is written waits for the handshake.
std::unique_ptr<io::Stream> ClientLink::secure(std::unique_ptr<io::Stream> stream) {
  tls::StreamOptions options;
  options.credentials = context_.tls.credentials();
  options.session.host = url_.address.unix_socket ? url_.host : url_.address.host;
  options.handshakes = context_.tls.handshakes;
  options.timers = &context_.timers;
  return std::make_unique<tls::Stream>(std::move(stream), std::move(options),
                                       [this](tls::HandshakeOutcome outcome) {
                                         heard_ = context_.clock.monotonic();
                                         if (!outcome.result) fail(std::move(outcome.result).error());
                                       });
}

void ClientLink::use(http1::ResponseHandler& handler, const Times& times) {
  handler_ = &handler;
  times_ = times;
  written_before_ = written_;
  heard_ = context_.clock.monotonic();
}

// ---- the request ----

void ClientLink::send(const http1::ClientRequest& request, std::string_view body) {
  http_.send(request, body);
  flush();
  watch();
}

void ClientLink::start(const http1::ClientRequest& request) {
  http_.start(request);
  flush();
  watch();
}

void ClientLink::write_chunk(std::string bytes) {
  if (bytes.empty() || failed_) return;
  if (stream_ == nullptr || !http_.in_progress()) return http_.write(bytes);
  flush();
  for (std::string part :
       {http1::chunk_head(bytes.size()), std::move(bytes), std::string(http1::kChunkEnd)}) {
    written_ += part.size();
    stream_->write(std::move(part));
  }
  watch();
}

void ClientLink::finish() {
  http_.finish();
  flush();
}

size_t ClientLink::queued_bytes() const {
  return http_.queued_bytes() + (stream_ == nullptr ? 0 : stream_->queued_bytes());
}

void ClientLink::flush() {
  if (stream_ == nullptr || failed_ || !http_.has_output()) return;
  std::string out = http_.take_output();
  written_ += out.size();
  stream_->write(std::move(out));
}

void ClientLink::set_reading(bool on) {
  if (reading_ == on) return;
  reading_ = on;
  if (stream_ == nullptr || failed_) return;
  if (!on) return stream_->pause_reading();
  heard_ = context_.clock.monotonic();  // silence of our own making does not count
  stream_->resume_reading();
  watch();
}

// ---- the socket ----

void ClientLink::on_data(std::string_view bytes) {
  if (failed_) return;
  heard_ = context_.clock.monotonic();
  http_.feed(bytes);
  flush();
}

void ClientLink::on_eof() {
  if (failed_) return;
  failed_ = true;
  http_.feed_eof();
  stream_->close();
}

void ClientLink::on_drained() {
  if (failed_) return;
  http_.output_written();
  flush();
}

void ClientLink::on_closed(Result<> error) {
  if (failed_) return;
  fail(error ? Error(Code::kIo, "use of closed network connection")
             : socket_error(error.error().text().starts_with("write") ? "write" : "read",
                            error.error().text()));
}

void ClientLink::fail(Error error) {
  if (failed_) return;
  failed_ = true;
  timer_.reset();
  if (stream_ != nullptr) stream_->close();
  http_.abort(std::move(error));
}

Error ClientLink::socket_error(std::string_view verb, std::string_view why) const {
  return make_error(Code::kIo, "{} {} {}->{}: {}", verb, url_.address.unix_socket ? "unix" : "tcp",
                    stream_->local_address(), stream_->peer_address(), why);
}

// ---- time ----

void ClientLink::watch() {
  if (timer_ != nullptr || failed_ || handler_ == nullptr || stream_ == nullptr) return;
  int64_t after = INT64_MAX;
  if (times_.silence_ns > 0 && http_.in_progress() && reading_) {
    after = std::max<int64_t>(heard_ + times_.silence_ns - context_.clock.monotonic(), 0);
  }
  if (times_.stall_ns > 0 && stream_->queued_bytes() > 0) after = std::min(after, times_.stall_ns / 2);
  if (after == INT64_MAX) return;
  timer_ = context_.timers.schedule(after, context_.loop, [this] { look(); });
}

void ClientLink::look() {
  timer_.reset();
  if (failed_) return;
  const io::MonotonicNs now = context_.clock.monotonic();
  if (times_.silence_ns > 0 && http_.in_progress() && reading_ && now - heard_ >= times_.silence_ns) {
    timed_out_ = true;
    return fail(socket_error("read", "i/o timeout"));
  }
  const size_t queued = stream_->queued_bytes();
  if (times_.stall_ns > 0 && stall_.stalled(now, written_ - queued, queued > 0, times_.stall_ns)) {
    timed_out_ = true;
    return fail(socket_error("write", "i/o timeout"));
  }
  watch();
}

// ---- the answer ----

void ClientLink::on_head(const http1::ResponseHead& head) {
  if (handler_ != nullptr) handler_->on_head(head);
}
void ClientLink::on_body(std::string_view bytes) {
  if (handler_ != nullptr) handler_->on_body(bytes);
}
void ClientLink::on_complete() {
  if (handler_ != nullptr) handler_->on_complete();
}
void ClientLink::on_error(Error error) {
  if (handler_ != nullptr) handler_->on_error(std::move(error));
}
void ClientLink::on_writable() {
  if (handler_ != nullptr) handler_->on_writable();
}

}  // namespace quoin::peer
