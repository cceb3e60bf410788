#include "cmd/grpcproxy/server.h"

#include <utility>

#include "front/http1_transport.h"
#include "grpc/transport.h"
#include "tls/stream.h"

namespace quoin::cmd::grpcproxy {

namespace {
constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr size_t kFirstLineMax = 4096;
}  // namespace

struct Server::NoHealth final : httpapi::HealthSource {
  std::vector<httpapi::Alarm> alarms() override { return {}; }
  bool has_leader() override { return false; }
  bool is_learner() override { return false; }
  void probe_read(bool, absl::AnyInvocable<void(Result<>)> done) override {
    done(Error(Code::kStopped, "not served"));
  }
  std::string cluster_version() override { return {}; }
  std::string storage_version() override { return {}; }
};

class Server::Connection final : public io::StreamHandler {
 public:
  using Place = std::list<std::unique_ptr<Connection>>::iterator;
  Connection(Server& server, std::unique_ptr<io::Stream> stream, Door door, bool tls, Place place)
      : server_(server), stream_(std::move(stream)), door_(door), tls_(tls), place_(place) {}

  void start() {
    if (tls_) {
      const front::Tls& tls = server_.options_.tls;
      tls::StreamOptions options;
      options.credentials = tls.credentials();
      options.handshakes = tls.handshakes;
      options.timers = &server_.env_.timers;
      options.limit = tls.limit;
      stream_ = std::make_unique<tls::Stream>(std::move(stream_), std::move(options),
                                              [this](tls::HandshakeOutcome outcome) {
                                                if (outcome.result) alpn_ = std::move(outcome.identity.alpn);
                                              });
    }
    timeout_ = server_.env_.timers.schedule(kFirstBytesNs, server_.env_.loop, [this] {
      if (stream_) stream_->close();
    });
    stream_->set_handler(this);
  }

  void on_data(std::string_view bytes) override {
    first_.append(bytes);
    const size_t n = std::min(first_.size(), kHttp2Preface.size());
    const bool http2 = std::string_view(first_).substr(0, n) == kHttp2Preface.substr(0, n);
    if (http2 && n < kHttp2Preface.size()) return;
    if (!http2 && first_.find('\n') == std::string::npos) {
      if (first_.size() > kFirstLineMax) stream_->close();
      return;
    }
    if (http2 && door_ == Door::kMetrics) return stream_->close();
    http2 ? speak_grpc() : speak_http();
  }
  void on_eof() override { stream_->close(); }
  void on_drained() override {}
  void on_closed(Result<>) override { remove(); }

 private:
  void speak_grpc() {
    timeout_.reset();
    grpc::ServerContext& context = tls_ ? server_.secure_context_ : server_.server_context_;
    const grpc::ConnectionLimits& l = context.limits;
    if (l.keepalive_interval_ns > 0 && l.keepalive_timeout_ns > 0) {
      stream_->set_unacknowledged_timeout(l.keepalive_timeout_ns);
    }
    grpc::PeerInfo peer{stream_->peer_address(), std::nullopt};
    grpc_ = std::make_unique<grpc::ServerTransport>(context, std::move(stream_), std::move(peer),
                                                    server_.env_.clock, server_.env_.timers,
                                                    std::exchange(first_, {}), [this] { remove(); });
  }
  void speak_http() {
    timeout_.reset();
    front::Http1Transport::Doors doors;
    doors.gateway = &server_.pages_;
    http1_ = std::make_unique<front::Http1Transport>(
        *server_.endpoints_, httpapi::Surface::kMetrics, front::Http1Transport::Security{tls_, ""}, doors,
        std::move(stream_), server_.env_.clock, server_.env_.timers, front::Http1Times{},
        std::exchange(first_, {}), [this] { remove(); });
  }
  // In a task of its own: the transports call from within a callback of theirs.
  void remove() {
    server_.env_.loop.post([server = &server_, place = place_] { server->connections_.erase(place); });
  }

  Server& server_;
  std::unique_ptr<io::Stream> stream_;
  const Door door_;
  const bool tls_;
  const Place place_;
  std::string first_, alpn_;
  std::unique_ptr<io::Timer> timeout_;
  std::unique_ptr<grpc::ServerTransport> grpc_;
  std::unique_ptr<front::Http1Transport> http1_;
};

Server::Server(ServerOptions options, const client::Environment& env, client::Client& client,
               log::Logger& log, metrics::Registry& registry)
    : options_(std::move(options)),
      env_(env),
      log_(log),
      turns_(env.loop),
      probe_(registry, env.clock, log, false),
      memory_(options_.held_bytes_all),
      metrics_(registry),
      context_{env_, client, calls_, turns_, log, metrics_, options_.prefix},
      kv_(context_, methods_),
      watch_(context_, methods_),
      cluster_(context_, options_.cluster, methods_),
      lease_(context_, methods_),
      forwards_(context_, methods_),
      pages_(context_, options_.pages, registry),
      no_health_(std::make_unique<NoHealth>()),
      endpoints_(std::in_place, *no_health_, registry, log, httpapi::Options{}),
      server_context_{methods_, calls_, probe_, memory_, options_.limits, &turns_},
      secure_context_(server_context_) {
  probe_.register_methods(methods_);
}

Server::~Server() = default;

void Server::start() {
  cluster_.start();
}

void Server::accepted(std::unique_ptr<io::Stream> stream, Door door, bool tls) {
  const auto it = connections_.insert(connections_.end(), nullptr);
  *it = std::make_unique<Connection>(*this, std::move(stream), door, tls, it);
  (*it)->start();
}

}  // namespace quoin::cmd::grpcproxy
