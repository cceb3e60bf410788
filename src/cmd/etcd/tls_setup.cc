#include "cmd/etcd/tls_setup.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "cmd/etcd/descriptors.h"
#include "cmd/etcd/process_stats.h"
#include "tls/self_signed.h"

namespace quoin::cmd {
namespace {
// Handshakes under way at a time, of clients and of peers: a bound of what they hold together (14 KB each while
// nothing came, about 45 KB once the hello is answered). Whoever waits for a place waits at the cost of its 10 s, so silent
// connections must not be able to take all of them.
constexpr size_t kHandshakesMax = 16 << 10;
}  // namespace

void TlsSetup::Pool::post(Task task) {
  std::lock_guard lock(mutex_);
  for (int i = 0; threads_.empty() && i < count_; ++i) {
    threads_.push_back(
        std::make_unique<posix::DiskThread>(count_ == 1 ? name_ : fmt::format("{}{}", name_, i)));
  }
  threads_[next_++ % threads_.size()]->post(std::move(task));
}

bool TlsSetup::Pool::running_here() const {
  std::lock_guard lock(mutex_);
  return std::any_of(threads_.begin(), threads_.end(), [](const auto& t) { return t->running_here(); });
}

void TlsSetup::Pool::stop() {
  // Unlocked: a last task may post.
  std::vector<std::unique_ptr<posix::DiskThread>> threads;
  {
    std::lock_guard lock(mutex_);
    threads.swap(threads_);
  }
  for (auto& t : threads) t->stop();
}

TlsSetup::TlsSetup(Config& config, io::FileSystem& file_system, io::Executor& files, io::TimerService& timers,
                   const io::Clock& clock, log::Logger& log, metrics::Registry& metrics)
    : config_(config),
      file_system_(file_system),
      files_(files),
      timers_(timers),
      clock_(clock),
      log_(log),
      metrics_(metrics),
      client_handshakes_("tls", usable_processors()),
      peer_handshakes_("peer-tls", usable_processors()),
      lookups_("names", 1),
      client_limit_(kHandshakesMax),
      peer_limit_(kHandshakesMax) {
  for (tls::Options* options : {&config.client_tls, &config.peer_tls})
    options->override_system_roots(std::getenv("SSL_CERT_FILE"), std::getenv("SSL_CERT_DIR"));
}

TlsSetup::~TlsSetup() = default;

Result<std::unique_ptr<tls::Keeper>> TlsSetup::keep(const tls::Options& options, tls::Role role) {
  return tls::Keeper::start(options, role, {file_system_, files_, timers_, clock_, log_});
}

void TlsSetup::publish(const char* role, tls::Keeper& keeper, tls::HandshakeLimit& limit) {
  const auto handshakes = [&](const char* state, size_t (tls::HandshakeLimit::*count)() const) {
    metrics_.callback("quoin_tls_handshakes", "TLS handshakes under way, and those that wait for a place.",
                      metrics::Type::kGauge,
                      [&limit, count] { return static_cast<double>((limit.*count)()); },
                      {{"role", role}, {"state", state}});
  };
  handshakes("under_way", &tls::HandshakeLimit::under_way);
  handshakes("waiting", &tls::HandshakeLimit::waiting);
  metrics_.callback("quoin_tls_certificate_expires_in_seconds",
                    "Seconds until the certificate shown is no longer valid; below 0 afterwards.",
                    metrics::Type::kGauge, [&keeper] { return keeper.seconds_left(); }, {{"role", role}});
}

// What etcd does before it listens: suites, a certificate of its own, and a line that says so.
Result<bool> TlsSetup::make(const char* kind, tls::Options& options, bool automatic,
                            const std::vector<Url>& urls) {
  ASSIGN_OR_RETURN(options.cipher_suites, tls::parse_cipher_suites(config_.cipher_suites));
  if (!automatic) return false;
  if (!options.empty()) {
    const std::string line = fmt::format("ignoring {} auto TLS since certs given", kind);
    LOG(log_, kWarn, line, );
    return false;
  }
  std::vector<std::string> hosts;
  for (const Url& u : urls) hosts.push_back(u.host);
  const std::string folder = std::filesystem::absolute(config_.server.data_dir) / "fixtures" / kind;
  auto made = tls::ensure_self_signed(file_system_, folder, hosts,
                                      static_cast<unsigned>(config_.self_signed_years), clock_, log_);
  if (!made) {
    const std::string line = fmt::format("failed to get {} self-signed certs", kind);
    LOG(log_, kFatal, line, {"error", made.error().text()});
    return made.error();
  }
  options.cert_file = options.client_cert_file = made->cert_file;
  options.key_file = options.client_key_file = made->key_file;
  options.insecure_skip_verify = true;
  return true;
}

Result<> TlsSetup::make_peers() {
  ASSIGN_OR_RETURN(peer_made_,
                   make("peer", config_.peer_tls, config_.peer_auto_tls, config_.listen_peer_urls));
  if (config_.peer_tls.empty()) return {};
  LOG(log_, kInfo, "starting with peer TLS", {"tls-info", config_.peer_tls.describe()},
      {"cipher-suites", config_.cipher_suites});
  return {};
}

Result<> TlsSetup::open_peers() {
  for (const Url& u : config_.listen_peer_urls) {
    if (u.scheme != "https") continue;
    if (config_.peer_tls.empty()) {
      return make_error(Code::kInvalidArgument,
                        "cannot listen on TLS for {}: KeyFile and CertFile are not presented", u.host);
    }
    if (peer_server_ != nullptr) continue;
    ASSIGN_OR_RETURN(peer_server_, keep(config_.peer_tls, tls::Role::kServer));
    publish("peer", *peer_server_, peer_limit_);
  }
  return {};
}

Result<> TlsSetup::make_clients() {
  std::vector<Url> urls = config_.listen_client_urls;
  urls.insert(urls.end(), config_.listen_client_http_urls.begin(), config_.listen_client_http_urls.end());
  ASSIGN_OR_RETURN(client_made_, make("client", config_.client_tls, config_.client_auto_tls, urls));
  for (const Url& u : urls) {
    if (!u.is_tls() || !config_.client_tls.empty()) continue;
    return make_error(
        Code::kInvalidArgument,
        "TLS key/cert (--cert-file, --key-file) must be provided for client url {} with HTTPS scheme",
        u.text());
  }
  return {};
}

Result<> TlsSetup::check_peers() {
  // Members may be reached by https though this one listens on http alone.
  ASSIGN_OR_RETURN(peer_client_, keep(config_.peer_tls, tls::Role::kClient));
  return {};
}

Result<> TlsSetup::load_clients() {
  if (client_server_ != nullptr) return {};
  ASSIGN_OR_RETURN(client_server_, keep(config_.client_tls, tls::Role::kServer));
  publish("client", *client_server_, client_limit_);
  return {};
}

void TlsSetup::stop() {
  client_handshakes_.stop();
  peer_handshakes_.stop();
  lookups_.stop();
}

front::Tls TlsSetup::side(const std::unique_ptr<tls::Keeper>& keeper, Pool& handshakes,
                          tls::HandshakeLimit& limit) {
  front::Tls t;
  t.credentials = [&keeper] { return keeper->current(); };
  t.handshakes = &handshakes;
  t.limit = &limit;
  return t;
}

front::Tls TlsSetup::peers() {
  front::Tls t = side(peer_server_, peer_handshakes_, peer_limit_);
  t.check_san = !config_.peer_skip_san_check;
  t.log_rejected = !peer_made_;
  return t;
}

front::Tls TlsSetup::clients() {
  front::Tls t = side(client_server_, client_handshakes_, client_limit_);
  t.log_rejected = !client_made_;
  return t;
}

front::Tls TlsSetup::scrapes() {
  front::Tls t = clients();
  t.check_san = true;
  return t;
}

peer::PeerTls TlsSetup::to_peers() {
  return {[this] { return peer_client_->current(); }, &peer_handshakes_};
}

}  // namespace quoin::cmd
