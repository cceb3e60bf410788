#include "cmd/grpcproxy/page_fetch.h"

#include "tls/stream.h"

namespace quoin::cmd::grpcproxy {

PageFetch::PageFetch(const client::Environment& env, const client::Endpoint& endpoint, bool tls,
                     const client::Tls& credentials, const std::string& path, Done done)
    : env_(env),
      endpoint_(endpoint),
      tls_(tls),
      credentials_(credentials),
      done_(std::move(done)),
      http_(*this) {
  http_.send({.target = path, .host = endpoint.authority});
  timer_ = env_.timers.schedule(kTimeNs, env_.loop, [this] {
    finish(Error(Code::kContextDeadlineExceeded, "context deadline exceeded"));
  });
  connecting_ = env_.network.connect(
      endpoint.address, {.timeout_ns = kTimeNs}, env_.loop,
      [this](Result<std::unique_ptr<io::Stream>> result) { connected(std::move(result)); });
}

PageFetch::~PageFetch() = default;

void PageFetch::connected(Result<std::unique_ptr<io::Stream>> result) {
  if (!result) return finish(std::move(result).error());
  stream_ = std::move(*result);
  if (tls_) {
    if (!credentials_.credentials) return finish(Error(Code::kInvalidArgument, "no credentials for TLS"));
    tls::StreamOptions o;
    o.credentials = credentials_.credentials();
    o.session.host = endpoint_.address.host;
    o.handshakes = credentials_.handshakes;
    o.timers = &env_.timers;
    stream_ = std::make_unique<tls::Stream>(std::move(stream_), std::move(o),
                                            [this](tls::HandshakeOutcome outcome) {
                                              if (!outcome.result) finish(outcome.result.error());
                                            });
  }
  stream_->set_handler(this);
  flush();
}

void PageFetch::flush() {
  if (stream_ && http_.has_output()) stream_->write(http_.take_output());
}

void PageFetch::finish(Result<std::string> result) {
  timer_.reset();
  if (stream_) stream_->close();
  if (done_) std::exchange(done_, nullptr)(std::move(result));
}

void PageFetch::on_data(std::string_view bytes) {
  http_.feed(bytes);
}
void PageFetch::on_eof() {
  http_.feed_eof();
}
void PageFetch::on_drained() {
  http_.output_written();
  flush();
}
void PageFetch::on_closed(Result<> error) {
  finish(error ? Error(Code::kIo, "EOF") : std::move(error).error());
}
void PageFetch::on_body(std::string_view bytes) {
  if (body_.size() + bytes.size() <= kBodyMax)
    body_.append(bytes);
  else
    finish(Error(Code::kLimit, "the page is too long"));
}

}  // namespace quoin::cmd::grpcproxy
