#include "front/loop_front.h"

#include <algorithm>

namespace quoin::front {

namespace {
constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr size_t kFirstLineMax = 4096;  // of an HTTP/1.1 request, before its protocol is known

// "GET /path HTTP/1.1": what stands behind the second blank is HTTP/1.x. Whoever begins otherwise is hung up
// on, as by etcd.
bool speaks_http1(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  const size_t first = line.find(' ');
  const size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos || first == 0) return false;
  const std::string_view version = line.substr(second + 1);
  return version.size() == 8 && version.starts_with("HTTP/1.") && version[7] >= '0' && version[7] <= '9';
}

}  // namespace

// One connection: first undecided, then gRPC or HTTP/1.1.
class LoopFront::Connection final : public io::StreamHandler {
 public:
  using Place = std::list<std::unique_ptr<Connection>>::iterator;
  Connection(LoopFront& front, std::unique_ptr<io::Stream> stream, Door door, Place place)
      : front_(front), stream_(std::move(stream)), door_(door), place_(place) {}

  void start() {
    timeout_ = front_.timers_.schedule(first_bytes_timeout(), front_.loop_, [this] {
      if (stream_) stream_->close();
    });
    stream_->set_handler(this);
  }
  void shutdown() {
    if (grpc_) return grpc_->shutdown();
    if (http1_) return http1_->shutdown();
    stream_->close();
  }
  void close() {
    if (grpc_) return grpc_->close();
    if (http1_) return http1_->close();
    stream_->close();
  }

  // ---- io::StreamHandler, while undecided ----
  void on_data(std::string_view bytes) override {
    first_.append(bytes);
    const size_t n = std::min(first_.size(), kHttp2Preface.size());
    const bool may_be_http2 = std::string_view(first_).substr(0, n) == kHttp2Preface.substr(0, n);
    if (may_be_http2 && n < kHttp2Preface.size()) return;
    if (!may_be_http2) {
      const size_t end = first_.find('\n');
      if (end == std::string::npos && first_.size() <= kFirstLineMax) return;
      if (end == std::string::npos || !speaks_http1(std::string_view(first_).substr(0, end)))
        return stream_->close();
    }
    timeout_.reset();
    decide(may_be_http2);
  }
  void on_eof() override { stream_->close(); }
  void on_drained() override {}
  void on_closed(Result<>) override { remove(); }

 private:
  int64_t first_bytes_timeout() const {
    return door_ == Door::kPeer ? front_.options_.peer_silence_ns : Front::kFirstBytesTimeoutNs;
  }
  void decide(bool http2) {
    const bool allowed =
        http2 ? door_ == Door::kClient || door_ == Door::kClientGrpc : door_ != Door::kClientGrpc;
    if (!allowed) return stream_->close();
    const std::string first = std::move(first_);
    Task closed = [this] { remove(); };
    if (http2) {
      // As grpc-go: a connection whose pings are never due has no such bound.
      if (const auto& l = front_.context_.limits; l.keepalive_interval_ns > 0 && l.keepalive_timeout_ns > 0)
        stream_->set_unacknowledged_timeout(l.keepalive_timeout_ns);
      grpc::PeerInfo peer{stream_->peer_address(), {}};
      grpc_ =
          std::make_unique<grpc::ServerTransport>(front_.context_, std::move(stream_), std::move(peer),
                                                  front_.clock_, front_.timers_, first, std::move(closed));
      return;
    }
    const auto surface = door_ == Door::kMetrics ? httpapi::Surface::kMetrics
                         : door_ == Door::kPeer  ? httpapi::Surface::kPeer
                                                 : httpapi::Surface::kClient;
    Http1Times times;
    if (door_ == Door::kPeer) {
      times.silence_ns = front_.options_.peer_silence_ns;
      times.answer_ns = front_.options_.peer_answer_ns;
    }
    http1_ = std::make_unique<Http1Transport>(
        *front_.endpoints_, surface, door_ == Door::kPeer ? front_.peer_door_ : nullptr, std::move(stream_),
        front_.clock_, front_.timers_, times, first, std::move(closed));
  }
  // In a task of its own: the transports call from within a callback of theirs.
  void remove() {
    front_.loop_.post([front = &front_, door = door_, place = place_] {
      Side& side = front->side(door);
      side.connections.erase(place);
      if (side.stopping && side.connections.empty()) front->finish_stop(side);
    });
  }

  LoopFront& front_;
  std::unique_ptr<io::Stream> stream_;
  const Door door_;
  const Place place_;
  std::string first_;
  std::unique_ptr<io::Timer> timeout_;
  std::unique_ptr<grpc::ServerTransport> grpc_;
  std::unique_ptr<Http1Transport> http1_;
};

LoopFront::LoopFront(server::Member& member, const Options& options, io::Loop& loop, io::TimerService& timers,
                     io::Clock& clock, log::Logger& log, v3rpc::RpcMetrics& metrics, grpc::Probe& probe,
                     grpc::MemoryBudget& memory, uint64_t seed)
    : options_(options),
      loop_(loop),
      timers_(timers),
      clock_(clock),
      port_(member, loop),
      services_(v3rpc::Loop{member, port_, timers, clock, log, metrics, options.services, &memory}, seed),
      context_{services_.methods(), calls_, probe, memory, options.limits, &services_.turns()} {}

LoopFront::~LoopFront() = default;

void LoopFront::accepted(std::unique_ptr<io::Stream> stream, Door door) {
  Side& s = side(door);
  if (s.stopping) return;
  auto it = s.connections.insert(s.connections.end(), nullptr);
  *it = std::make_unique<Connection>(*this, std::move(stream), door, it);
  (*it)->start();
}

void LoopFront::stop(bool peers, int64_t deadline_ns, Task done) {
  Side& s = sides_[peers ? 1 : 0];
  s.stopping = true;
  s.stopped = std::move(done);
  for (auto it = s.connections.begin(); it != s.connections.end();) (*it++)->shutdown();
  if (s.connections.empty()) return finish_stop(s);
  s.deadline = timers_.schedule(deadline_ns, loop_, [&s] {
    for (auto it = s.connections.begin(); it != s.connections.end();) (*it++)->close();
  });
}

void LoopFront::finish_stop(Side& side) {
  side.deadline.reset();
  if (side.stopped) std::exchange(side.stopped, nullptr)();
}

}  // namespace quoin::front
