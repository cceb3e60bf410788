#include "front/loop_front.h"

#include <algorithm>

#include "server/logins.h"

namespace quoin::front {

namespace {
constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr char kTlsHandshakeRecord = 0x16;
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

// One connection: first undecided, maybe in a TLS handshake, then HTTP/2 or HTTP/1.1.
class LoopFront::Connection final : public io::StreamHandler {
 public:
  using Place = std::list<std::unique_ptr<Connection>>::iterator;
  Connection(LoopFront& front, std::unique_ptr<io::Stream> stream, const Entrance& entrance, Place place)
      : front_(front), stream_(std::move(stream)), entrance_(entrance), door_(entrance.door), place_(place) {}

  void start() {
    if (!entrance_.plain) return begin_tls();
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
    if (secure_) return decide(alpn_ == "h2");
    if (entrance_.tls && first_[0] == kTlsHandshakeRecord) return begin_tls();
    const size_t n = std::min(first_.size(), kHttp2Preface.size());
    const bool may_be_http2 = std::string_view(first_).substr(0, n) == kHttp2Preface.substr(0, n);
    if (may_be_http2 && n < kHttp2Preface.size()) return;
    if (!may_be_http2) {
      const size_t end = first_.find('\n');
      if (end == std::string::npos && first_.size() <= kFirstLineMax) return;
      if (end == std::string::npos || !speaks_http1(std::string_view(first_).substr(0, end)))
        return stream_->close();
    }
    decide(may_be_http2);
  }
  void on_eof() override { stream_->close(); }
  void on_drained() override {}
  void on_closed(Result<>) override { remove(); }

 private:
  int64_t first_bytes_timeout() const {
    return door_ == Door::kPeer ? front_.options_.peer_silence_ns : Front::kFirstBytesTimeoutNs;
  }
  void begin_tls() {
    const Tls& tls = front_.tls(door_);
    timeout_.reset();
    tls::StreamOptions options;
    options.credentials = tls.credentials();
    options.received = std::exchange(first_, {});
    options.handshakes = tls.handshakes;
    options.timers = &front_.timers_;
    options.limit = tls.limit;
    if (tls.check_san) options.san_lookup = &*front_.names_;
    stream_->set_handler(nullptr);
    stream_ = std::make_unique<tls::Stream>(
        std::move(stream_), std::move(options),
        [this](tls::HandshakeOutcome outcome) { handshake_ended(std::move(outcome)); });
    stream_->set_handler(this);
  }
  void handshake_ended(tls::HandshakeOutcome outcome) {
    if (!outcome.result) return log_rejected(outcome);  // on_closed() follows
    secure_ = true;
    alpn_ = std::move(outcome.identity.alpn);
    if (outcome.identity.has_certificate) common_name_ = std::move(outcome.identity.names.common_name);
    timeout_ = front_.timers_.schedule(first_bytes_timeout(), front_.loop_, [this] {
      if (stream_) stream_->close();
    });
  }
  void log_rejected(const tls::HandshakeOutcome& outcome) const {
    if (!front_.tls(door_).log_rejected || door_ == Door::kClientGrpc) return;
    const auto level = outcome.eof ? log::Level::kDebug : log::Level::kWarn;
    const std::string_view message = door_ == Door::kPeer ? "rejected connection on peer endpoint"
                                                          : "rejected connection on client endpoint";
    if (!front_.log_.enabled(level)) return;
    const tls::Identity& who = outcome.identity;
    const std::string error(outcome.result.error().text());
    const log::Field remote("remote-addr", stream_->peer_address()), server("server-name", who.server_name);
    if (!who.has_certificate) {
      return front_.log_.log(
          log::Event{level, message, {remote, server, {"error", error}}, __FILE__, __LINE__});
    }
    const std::vector<std::string> addresses = who.names.ip_texts();
    front_.log_.log(log::Event{
        level,
        message,
        {remote, server, {"ip-addresses", addresses}, {"dns-names", who.names.dns_names}, {"error", error}},
        __FILE__,
        __LINE__});
  }
  void decide(bool http2) {
    timeout_.reset();
    grpc::ServerContext* context = http2 ? front_.context(door_, secure_) : nullptr;
    if (http2 ? context == nullptr : door_ == Door::kClientGrpc) return stream_->close();
    const std::string first = std::move(first_);
    Task closed = [this] { remove(); };
    if (http2) {
      // As grpc-go: a connection whose pings are never due has no such bound.
      if (const auto& l = context->limits; l.keepalive_interval_ns > 0 && l.keepalive_timeout_ns > 0)
        stream_->set_unacknowledged_timeout(l.keepalive_timeout_ns);
      grpc::PeerInfo peer{stream_->peer_address(), std::move(common_name_)};
      grpc_ =
          std::make_unique<grpc::ServerTransport>(*context, std::move(stream_), std::move(peer),
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
    Http1Transport::Doors doors;
    if (door_ == Door::kPeer) doors.peers = front_.peer_door_;
    if (surface == httpapi::Surface::kClient) doors.gateway = front_.gateway();
    http1_ = std::make_unique<Http1Transport>(
        *front_.endpoints_, surface, Http1Transport::Security{secure_, common_name_.value_or("")}, doors,
        std::move(stream_), front_.clock_, front_.timers_, times, first, std::move(closed));
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
  const Entrance entrance_;
  const Door door_;
  const Place place_;
  bool secure_ = false;
  std::string alpn_;
  std::optional<std::string> common_name_;  // of the client's certificate
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
      log_(log),
      port_(member, loop),
      services_(v3rpc::Loop{member, port_, timers, clock, log, metrics, options.services, &memory}, seed),
      context_{services_.methods(), calls_, probe, memory, options.limits, &services_.turns()},
      probe_(probe),
      memory_(memory),
      secure_context_(context_),
      http_context_(context_),
      metrics_context_(context_) {
  if (options.resolver != nullptr) names_.emplace(*options.resolver, *options.lookups, loop);
  http_context_.serves_grpc = metrics_context_.serves_grpc = false;
  for (grpc::ServerContext* c : {&secure_context_, &http_context_, &metrics_context_}) {
    c->limits.counts_pings = false;
    c->limits.keepalive_interval_ns = 0;
  }
}

LoopFront::~LoopFront() = default;

// The gateway's calls have no certificate. Whoever counts on theirs is told, instead of being nobody.
bool LoopFront::refuses_common_names() {
  server::Logins& logins = port_.member().logins();
  return logins.client_cert_auth() && logins.published().get()->enabled;
}

void LoopFront::set_endpoints(httpapi::Endpoints& endpoints) {
  endpoints_ = &endpoints;
  if (options_.gateway) {
    gateway_.emplace(httpapi::gateway::Context{endpoints, services_.methods(), calls_, probe_, memory_,
                                               services_.turns(), loop_, timers_, clock_, options_.limits,
                                               [this] { return refuses_common_names(); }});
  }
  client_pages_.emplace(endpoints, httpapi::Surface::kClient, loop_, clock_, gateway());
  metrics_pages_.emplace(endpoints, httpapi::Surface::kMetrics, loop_, clock_, nullptr);
  secure_context_.http = http_context_.http = &*client_pages_;
  metrics_context_.http = &*metrics_pages_;
}

const Tls& LoopFront::tls(Door door) const {
  return door == Door::kPeer      ? options_.peer_tls
         : door == Door::kMetrics ? options_.metrics_tls
                                  : options_.client_tls;
}

grpc::ServerContext* LoopFront::context(Door door, bool tls) {
  switch (door) {
    case Door::kClient:
      return tls ? &secure_context_ : &context_;
    case Door::kClientGrpc:
      return &context_;
    case Door::kClientHttp:
      return tls ? &http_context_ : nullptr;
    case Door::kMetrics:
      return tls ? &metrics_context_ : nullptr;
    case Door::kPeer:
      return nullptr;
  }
  return nullptr;
}

void LoopFront::accepted(std::unique_ptr<io::Stream> stream, const Entrance& entrance) {
  Side& s = side(entrance.door);
  if (s.stopping) return;
  auto it = s.connections.insert(s.connections.end(), nullptr);
  *it = std::make_unique<Connection>(*this, std::move(stream), entrance, it);
  (*it)->start();
}

void LoopFront::stop(bool peers, int64_t deadline_ns, Task done) {
  Side& s = sides_[peers ? 1 : 0];
  s.stopping = true;
  s.stopped = std::move(done);
  if (!peers && gateway_) gateway_->close_websockets();
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
