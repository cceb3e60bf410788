#include "client/link.h"

#include <algorithm>
#include <utility>

#include "base/go_text.h"

namespace quoin::client {

Link::Link(const Environment& environment, const ConnectionOptions& options, Endpoint endpoint,
           Listener& listener, uint64_t seed)
    : env_(environment),
      options_(options),
      endpoint_(std::move(endpoint)),
      tls_(endpoint_.security == Endpoint::Security::kTls ||
           (endpoint_.security == Endpoint::Security::kAsClient && options.tls.credentials)),
      listener_(listener),
      prng_(seed) {
  dial();
}

Link::~Link() {
  Transport::retire(std::move(transport_));
  for (auto& t : draining_) Transport::retire(std::move(t));
}

void Link::dial() {
  timer_.reset();
  began_ = env_.clock.monotonic();
  if (tls_ && !options_.tls.credentials) {
    timer_ = env_.timers.schedule(0, env_.loop, [this] {
      failed("connection error: desc = \"transport: there are no credentials for TLS\"");
    });
    return;
  }
  connecting_ = env_.network.connect(
      endpoint_.address, {.timeout_ns = options_.dial_timeout_ns}, env_.loop,
      [this](Result<std::unique_ptr<io::Stream>> result) { dialled(std::move(result)); });
}

void Link::dialled(Result<std::unique_ptr<io::Stream>> result) {
  if (!result) {
    return failed(
        fmt::format("connection error: desc = {}",
                    go_quote(fmt::format("transport: Error while dialing: {}", result.error().text()))));
  }
  transport_ = std::make_unique<Transport>(env_, options_, endpoint_, tls_, std::move(*result),
                                           static_cast<Transport::Owner&>(*this));
  const int64_t left = began_ + options_.dial_timeout_ns - env_.clock.monotonic();
  timer_ = env_.timers.schedule(std::max<int64_t>(left, 0), env_.loop, [this] {
    Transport::retire(std::move(transport_));
    failed("connection error: desc = \"error reading server preface: i/o timeout\"");
  });
}

void Link::failed(std::string error) {
  error_ = std::move(error);
  // Of the pause a fifth more or less.
  const auto spread = static_cast<uint64_t>(pause_ns_ / 5);
  const int64_t pause = pause_ns_ - pause_ns_ / 5 + static_cast<int64_t>(prng_.below(2 * spread + 1));
  pause_ns_ = std::min(pause_ns_ * 8 / 5, kPauseMaxNs);
  const int64_t left = began_ + pause - env_.clock.monotonic();
  timer_ = env_.timers.schedule(std::max<int64_t>(left, 0), env_.loop, [this] { dial(); });
  change(State::kFailed);
}

void Link::change(State state) {
  state_ = state;
  listener_.on_link_changed(*this);
}

void Link::on_ready(Transport&) {
  timer_.reset();
  pause_ns_ = kPauseMinNs;
  change(State::kReady);
}

void Link::on_draining(Transport&) {
  draining_.push_back(std::move(transport_));
  state_ = State::kConnecting;
  dial();
  listener_.on_link_changed(*this);
}

void Link::on_lost(Transport& transport, const std::string& error) {
  const auto it =
      std::find_if(draining_.begin(), draining_.end(), [&](const auto& t) { return t.get() == &transport; });
  if (it != draining_.end()) {
    Transport::retire(std::move(*it));
    draining_.erase(it);
    return;
  }
  Transport::retire(std::move(transport_));
  if (state_ != State::kReady) return failed(error);
  state_ = State::kConnecting;
  dial();
  listener_.on_link_changed(*this);
}

void Link::close() {
  timer_.reset();
  connecting_.reset();
  state_ = State::kFailed;
  error_ = "the client connection is closing";
  if (transport_) transport_->calls().close(GrpcStatus::kCanceled, error_);
  for (auto& t : draining_) t->calls().close(GrpcStatus::kCanceled, error_);
  Transport::retire(std::move(transport_));
  for (auto& t : draining_) Transport::retire(std::move(t));
  draining_.clear();
}

}  // namespace quoin::client
