#include "front/tcp_forwarder.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace quoin::front {

// A client's connection and its backend's.
class TcpForwarder::Pair {
 public:
  Pair(TcpForwarder& owner, std::unique_ptr<io::Stream> client)
      : owner_(owner), ends_{{*this, 0}, {*this, 1}} {
    ends_[0].stream = std::move(client);
    ends_[0].stream->pause_reading();
    ends_[0].stream->set_handler(&ends_[0]);
  }

  std::list<std::unique_ptr<Pair>>::iterator place;  // among the owner's
  std::unique_ptr<io::Connecting> connecting;        // while the backend is dialled

  void connected(std::unique_ptr<io::Stream> backend) {
    ends_[1].stream = std::move(backend);
    ends_[1].stream->set_handler(&ends_[1]);
    if (!ending_) ends_[0].stream->resume_reading();
  }
  size_t held_bytes() const {
    size_t n = 0;
    for (const End& e : ends_) n += e.stream ? e.stream->queued_bytes() : 0;
    return n;
  }

 private:
  struct End final : io::StreamHandler {
    End(Pair& pair, size_t which) : pair(pair), which(which) {}
    void on_data(std::string_view bytes) override { pair.carry(*this, bytes); }
    void on_eof() override { pair.sender_ended(*this); }
    void on_drained() override { pair.drained(*this); }
    void on_closed(Result<>) override {
      gone = true;
      pair.sender_ended(*this);
    }

    Pair& pair;
    const size_t which;
    std::unique_ptr<io::Stream> stream;
    bool paused = false;  // not read: the other end takes nothing
    bool ended = false;   // will send no more
    bool gone = false;    // takes no more either
  };
  End& other(const End& e) { return ends_[1 - e.which]; }

  void carry(End& from, std::string_view bytes) {
    End& to = other(from);
    if (ending_) return;
    // As when a write fails.
    if (to.gone) return end();
    to.stream->write(std::string(bytes));
    if (to.stream->queued_bytes() < kHeldBytesPause) return;
    from.paused = true;
    from.stream->pause_reading();
  }
  void drained(End& to) {
    End& from = other(to);
    if (ending_) return;
    if (from.ended) return end();
    if (std::exchange(from.paused, false)) from.stream->resume_reading();
  }
  void sender_ended(End& from) {
    from.ended = true;
    const End& to = other(from);
    if (!to.stream) return end();  // while the backend is dialled
    // `to` is paused while bytes from it wait: with `from` gone, writing them has failed.
    if (to.gone || to.stream->queued_bytes() == 0 || (from.gone && to.paused)) end();
  }

  // The loop writes once more what it can before it closes.
  void end() {
    if (std::exchange(ending_, true)) return;
    connecting.reset();
    for (End& e : ends_) {
      if (e.stream) e.stream->pause_reading();
    }
    owner_.loop_.post([this, alive = std::weak_ptr<int>(owner_.alive_)] {
      if (!alive.expired()) owner_.remove(*this);
    });
  }

  TcpForwarder& owner_;
  End ends_[2];  // client, backend
  bool ending_ = false;
};

TcpForwarder::TcpForwarder(Options options, io::Loop& loop, io::Network& network, io::TimerService& timers,
                           log::Logger& log)
    : retry_ns_(options.retry_ns == 0 ? 300 * io::kSecond : options.retry_ns),
      loop_(loop),
      network_(network),
      timers_(timers),
      log_(log),
      choice_(std::move(options.backends), options.seed),
      retries_(choice_.backends().size()) {}

TcpForwarder::~TcpForwarder() = default;

void TcpForwarder::start() {
  std::vector<std::string> addresses;
  for (const Backend& b : choice_.backends()) addresses.push_back(b.address());
  LOG(log_, kInfo, "ready to proxy client requests", {"endpoints", addresses});
  retry_later();
}

void TcpForwarder::accepted(std::unique_ptr<io::Stream> client) {
  pairs_.push_back(std::make_unique<Pair>(*this, std::move(client)));
  Pair& pair = *pairs_.back();
  pair.place = std::prev(pairs_.end());
  connect(pair);
}

size_t TcpForwarder::held_bytes() const {
  size_t n = 0;
  for (const auto& pair : pairs_) n += pair->held_bytes();
  return n;
}

void TcpForwarder::connect(Pair& pair) {
  const auto picked = choice_.pick();
  if (!picked) return remove(pair);
  const Backend& backend = choice_.backends()[*picked];
  pair.connecting = network_.connect({false, backend.host, backend.port}, {}, loop_,
                                     [this, &pair, i = *picked](Result<std::unique_ptr<io::Stream>> r) {
                                       if (r) {
                                         pair.connected(std::move(*r));
                                         pair.connecting.reset();
                                       } else {
                                         deactivate(i, r.error());
                                         connect(pair);
                                       }
                                     });
}

void TcpForwarder::remove(Pair& pair) {
  pairs_.erase(pair.place);
}

// ---- backends ----

void TcpForwarder::deactivate(size_t backend, const Error& why) {
  choice_.set_active(backend, false);
  LOG(log_, kWarn, "deactivated endpoint", {"address", choice_.backends()[backend].address()},
      {"interval", log::Duration{retry_ns_}}, {"error", why.text()});
}

void TcpForwarder::retry_later() {
  timer_ = timers_.schedule(std::max(retry_ns_, kRetryMinNs), loop_, [this] { retry_backends(); });
}

// Each inactive one is dialled, unless the dial before has not ended yet.
void TcpForwarder::retry_backends() {
  for (size_t i = 0; i < retries_.size(); ++i) {
    if (choice_.active(i) || retries_[i]) continue;
    const Backend& b = choice_.backends()[i];
    retries_[i] = network_.connect({false, b.host, b.port}, {}, loop_,
                                   [this, i](Result<std::unique_ptr<io::Stream>> r) { retried(i, r); });
  }
  retry_later();
}

void TcpForwarder::retried(size_t backend, const Result<std::unique_ptr<io::Stream>>& result) {
  const std::string address = choice_.backends()[backend].address();
  if (result) {
    choice_.set_active(backend, true);
    LOG(log_, kInfo, "activated", {"address", address});
  } else {
    LOG(log_, kWarn, "failed to activate endpoint (stay inactive for another interval)", {"address", address},
        {"interval", log::Duration{retry_ns_}}, {"error", result.error().text()});
  }
  retries_[backend].reset();
}

}  // namespace quoin::front
