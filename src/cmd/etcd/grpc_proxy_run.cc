// The proxy on the real machine.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <random>
#include <thread>

#include "base/check.h"
#include "base/go_text.h"
#include "client/methods.h"
#include "cmd/etcd/config_url.h"
#include "cmd/etcd/grpc_proxy.h"
#include "cmd/etcd/notify.h"
#include "cmd/etcd/process_stats.h"
#include "cmd/etcd/proxy_process.h"
#include "cmd/grpcproxy/server.h"
#include "posix/clock.h"
#include "posix/executors.h"
#include "posix/file.h"
#include "posix/log_sink.h"
#include "posix/loop.h"
#include "posix/resolver.h"
#include "posix/timers.h"
#include "tls/handshake_limit.h"
#include "tls/keeper.h"
#include "tls/key_pair.h"
#include "tls/ossl.h"
#include "tls/self_signed.h"
#include "wire/message.h"

namespace quoin::cmd {
namespace {

namespace pb = wire::etcdserverpb;

constexpr int64_t kSelfDialNs = 5 * io::kSecond;
constexpr size_t kHandshakesMax = 4096;
// A connection, and its share of those to members.
constexpr uint64_t kDescriptorsEach = 2;

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "";
}

Result<io::ListenAddress> listen_address(const std::string& text) {
  const auto parts = split_host_port(text);
  if (!parts) return make_error(Code::kInvalidArgument, "listen tcp: {}", parts.error().text());
  io::ListenAddress a;
  a.host = parts->first;
  uint32_t port = 0;
  for (const char c : parts->second) {
    if (c < '0' || c > '9' || (port = port * 10 + static_cast<uint32_t>(c - '0')) > UINT16_MAX) {
      return make_error(Code::kInvalidArgument, "listen tcp: lookup tcp/{}: unknown port", parts->second);
    }
  }
  a.port = static_cast<uint16_t>(port);
  a.connections_max = connections_within_limit(kDescriptorsEach);
  return a;
}

// All of it; what is made in the constructor and start() stays until a signal ends the process.
class Proxy {
 public:
  Proxy(GrpcProxyOptions options, posix::LogSink& log)
      : o_(std::move(options)),
        log_(log),
        timers_(clock_),
        files_("files"),
        scrape_("scrape"),
        client_handshakes_("tls"),
        member_handshakes_("member-tls"),
        fs_(posix::make_file_system(files_)),
        loop_("proxy"),
        env_{loop_, network_, timers_, clock_},
        handshake_limit_(kHandshakesMax),
        seed_((uint64_t{std::random_device{}()} << 32) | std::random_device{}()) {
    loop_.post([] { posix::LogSink::forbid_waiting(); });
  }

  // Errors: etcd's text for standard error.
  Result<> start() {
    TRY(prepare_tls());
    ASSIGN_OR_RETURN(io::ListenAddress address, listen_address(o_.listen_addr));
    address.wait = true;
    const bool tls = own_server_ != nullptr;
    ASSIGN_OR_RETURN(listener_,
                     network_.listen(address, {&loop_}, [this, tls](std::unique_ptr<io::Stream> s) {
                       server_->accepted(std::move(s), grpcproxy::Server::Door::kClient, tls);
                     }));
    LOG(log_, kInfo, "listening for gRPC proxy client requests", {"address", o_.listen_addr});
    TRY(find_endpoints());
    TRY(on_loop([this]() -> Result<> { return make_server(); }));
    listener_->start();
    TRY(dial_itself());
    if (!o_.metrics_addr.empty()) TRY(serve_metrics());
    LOG(log_, kInfo, "started gRPC proxy", {"address", o_.listen_addr});
    return {};
  }
  void stop_loop() { loop_.stop(); }

 private:
  Result<> on_loop(std::function<Result<>()> f) {
    std::promise<Result<>> done;
    loop_.post([&] { done.set_value(f()); });
    return done.get_future().get();
  }
  Result<std::unique_ptr<tls::Keeper>> keep(const tls::Options& options, tls::Role role) {
    return tls::Keeper::start(options, role, {*fs_, files_, timers_, clock_, log_});
  }

  // ---- certificates ----

  Result<> prepare_tls() {
    if (o_.clients.empty() && o_.clients.trusted_ca_file.empty() && o_.auto_tls) {
      const std::string folder = std::filesystem::absolute(o_.data_dir) / "fixtures" / "proxy";
      ASSIGN_OR_RETURN(const auto made,
                       tls::ensure_self_signed(*fs_, folder, {o_.listen_addr},
                                               static_cast<unsigned>(o_.self_signed_years), clock_, log_));
      o_.clients.cert_file = o_.clients.client_cert_file = made.cert_file;
      o_.clients.key_file = o_.clients.client_key_file = made.key_file;
      o_.clients.insecure_skip_verify = true;
    }
    if (!o_.clients.empty() || !o_.clients.trusted_ca_file.empty()) {
      ASSIGN_OR_RETURN(o_.clients.cipher_suites, tls::parse_cipher_suites(o_.cipher_suites));
      LOG(log_, kInfo, "gRPC proxy server TLS", {"tls-info", o_.clients.describe()});
      if (o_.clients.cert_file.empty() || o_.clients.key_file.empty()) {
        LOG(log_, kFatal, "failed to create TLS listener",
            {"error", fmt::format("cannot listen on TLS for {}: KeyFile and CertFile are not presented",
                                  o_.listen_addr)});
      }
      auto opened = keep(o_.clients, tls::Role::kServer);
      if (!opened) {
        LOG(log_, kFatal, "failed to create TLS listener", {"error", opened.error().text()});
        return opened.error();
      }
      own_server_ = std::move(*opened);
      ASSIGN_OR_RETURN(own_client_, keep(o_.clients, tls::Role::kClient));
    }
    if (!o_.to_members) return {};
    if (!o_.members.cert_file.empty()) TRY(check_common_name());
    ASSIGN_OR_RETURN(to_members_, keep(o_.members, tls::Role::kClient));
    if (o_.members.insecure_skip_verify) {
      LOG(log_, kWarn,
          "--insecure-skip-tls-verify was given, this grpc proxy process skips authentication of etcd server "
          "TLS certificates. This option should be enabled only for testing purposes.", );
    }
    LOG(log_, kInfo, "gRPC proxy client TLS", {"tls-info", o_.members.describe()});
    return {};
  }
  // The name would be that of all clients to a member that knows users by their certificates.
  Result<> check_common_name() {
    ASSIGN_OR_RETURN(const std::string pem, io::read_file(*fs_, o_.members.cert_file, 1 << 20));
    ASSIGN_OR_RETURN(const auto certificates, tls::parse_certificates(pem));
    if (certificates.empty()) return {};
    const std::string name = tls::names_of(certificates.front().get()).common_name;
    if (name.empty()) return {};
    return make_error(Code::kInvalidArgument, "cert has non empty Common Name ({}): {}", name,
                      o_.members.cert_file);
  }
  client::Tls tls_of(const std::unique_ptr<tls::Keeper>& keeper) {
    if (keeper == nullptr) return {};
    return {[&keeper] { return keeper->current(); }, &member_handshakes_};
  }

  // ---- members ----

  Result<> find_endpoints() {
    const GatewayOptions asked{.discovery_srv = o_.discovery_srv,
                               .discovery_srv_name = o_.discovery_srv_name,
                               .insecure_discovery = o_.insecure_discovery,
                               .trusted_ca_file = o_.members.trusted_ca_file};
    const GatewayWorld world{
        resolver_, [this](const std::string& host, uint16_t port) { return dial_once(host, port); },
        [this](const std::string& path) -> Result<> {
          tls::Options options;
          options.trusted_ca_file = path;
          TRY(tls::Credentials::load(options, tls::Role::kClient, *fs_, clock_, nullptr));
          return {};
        },
        log_};
    ASSIGN_OR_RETURN(auto found, discover_endpoints(asked, world));
    if (!found.empty()) o_.endpoints = std::move(found);
    return {};
  }
  Result<> dial_once(const std::string& host, uint16_t port) {
    std::promise<Result<>> done;
    std::unique_ptr<io::Connecting> attempt = network_.connect(
        {false, host, port}, {kSelfDialNs, ""}, loop_,
        [&](Result<std::unique_ptr<io::Stream>> r) { done.set_value(r ? Result<>() : Result<>(r.error())); });
    Result<> outcome = done.get_future().get();
    (void)on_loop([&]() -> Result<> {
      attempt.reset();
      return {};
    });
    return outcome;
  }

  client::ClientOptions client_options(std::vector<std::string> endpoints, client::Tls tls) {
    client::ClientOptions c;
    c.endpoints = std::move(endpoints);
    c.connection.tls = std::move(tls);
    c.connection.user_agent = "quoin-grpc-proxy";
    c.retries = false;  // as in etcd's proxy, each call is made once
    c.seed = ++seed_;
    return c;
  }

  // On the loop.
  Result<> make_server() {
    client::ClientOptions c = client_options(o_.endpoints, tls_of(to_members_));
    if (o_.max_send_bytes > 0) c.max_send_bytes = static_cast<size_t>(o_.max_send_bytes);
    if (o_.max_recv_bytes > 0) c.connection.max_receive_bytes = static_cast<size_t>(o_.max_recv_bytes);
    c.connection.keepalive_time_ns = o_.dial_keepalive_time_ns;
    if (o_.dial_keepalive_timeout_ns > 0) c.connection.keepalive_timeout_ns = o_.dial_keepalive_timeout_ns;
    c.connection.keepalive_without_calls = o_.permit_without_stream;
    ASSIGN_OR_RETURN(members_, client::Client::make(std::move(c), env_));
    member_tls_ = tls_of(to_members_);

    grpc::ConnectionLimits limits;
    limits.max_received_message_bytes = 4 << 20;  // gRPC's own
    limits.keepalive_min_time_ns = o_.keepalive_min_time_ns;
    if (o_.keepalive_interval_ns > 0) limits.keepalive_interval_ns = o_.keepalive_interval_ns;
    if (o_.keepalive_timeout_ns > 0) limits.keepalive_timeout_ns = o_.keepalive_timeout_ns;
    front::Tls tls;
    if (own_server_) {
      tls.credentials = [this] { return own_server_->current(); };
      tls.handshakes = &client_handshakes_;
      tls.limit = &handshake_limit_;
    }
    std::vector<std::string> endpoints = o_.endpoints;
    ASSIGN_OR_RETURN(const client::Endpoint metrics_of,
                     client::parse_endpoint(endpoints[prng_.below(endpoints.size())]));
    server_ = std::make_unique<grpcproxy::Server>(
        grpcproxy::ServerOptions{
            .limits = limits,
            .prefix = o_.name_space,
            .cluster = {o_.advertise_client_url, o_.resolver_prefix, o_.resolver_ttl_s, host_name()},
            .pages = {metrics_of, member_tls_,
                      [this](absl::AnyInvocable<void(std::string)> done) { scrape(std::move(done)); },
                      std::string(httpapi::kMetricsContentType)},
            .tls = std::move(tls)},
        env_, *members_, log_, registry_);
    server_->start();
    if (o_.auto_sync_ns > 0) sync_later();
    return {};
  }
  void scrape(absl::AnyInvocable<void(std::string)> done) {
    scrape_.post([this, done = std::move(done)]() mutable {
      const httpapi::ProcessStats stats = read_process_stats();
      std::string page = httpapi::render_metrics(registry_, &stats);
      loop_.post([done = std::move(done), page = std::move(page)]() mutable { done(std::move(page)); });
    });
  }

  // ---- endpoints that follow the members ----

  struct MemberList final : client::Call {
    explicit MemberList(Proxy& p) : proxy(p) {}
    Proxy& proxy;
    std::string answer;
    void on_message(std::string_view m) override { answer = m; }
    void on_end(GrpcStatus status, std::string_view text) override { proxy.synced(status, text); }
  };
  void sync_later() {
    sync_timer_ = timers_.schedule(o_.auto_sync_ns, loop_, [this] {
      pb::MemberListRequest request;
      request.linearizable = true;
      members_->unary(member_list_, client::methods::kMemberList, wire::encode_string(request),
                      {.deadline = clock_.monotonic() + kSelfDialNs});
    });
  }
  void synced(GrpcStatus status, std::string_view text) {
    sync_later();
    const auto r = wire::decode<pb::MemberListResponse>(member_list_.answer);
    if (status != GrpcStatus::kOk || !r) {
      LOG(log_, kInfo, "Auto sync endpoints failed.", {"error", text});
      return;
    }
    std::vector<std::string> urls;
    for (const pb::Member& m : r->members) {
      if (!m.name.empty() && !m.is_learner)
        urls.insert(urls.end(), m.client_urls.begin(), m.client_urls.end());
    }
    if (!urls.empty()) (void)members_->set_endpoints(urls);
  }

  // ---- itself ----

  // As etcd's: the address that clients are told is dialled before the pages are served.
  Result<> dial_itself() {
    if (o_.advertise_client_url.empty()) {
      return on_loop([this]() -> Result<> {
        server_->ready(nullptr);
        return {};
      });
    }
    TRY(on_loop([this]() -> Result<> {
      ASSIGN_OR_RETURN(itself_, client::Client::make(
                                    client_options({o_.advertise_client_url}, tls_of(own_client_)), env_));
      return {};
    }));
    const io::MonotonicNs until = clock_.monotonic() + kSelfDialNs;
    for (bool ready = false; !ready;) {
      (void)on_loop([&]() -> Result<> {
        ready = itself_->ready_links() > 0;
        return {};
      });
      if (ready) break;
      if (clock_.monotonic() >= until)
        return Error(Code::kContextDeadlineExceeded, "context deadline exceeded");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    LOG(log_.named("client"), kInfo, "create proxy client",
        {"grpcProxyAdvertiseClientURL", o_.advertise_client_url});
    return on_loop([this]() -> Result<> {
      server_->ready(itself_.get());
      return {};
    });
  }

  Result<> serve_metrics() {
    const auto url = membership::parse_go_url(o_.metrics_addr);
    // Without a line end, as etcd's.
    if (!url) {
      std::fputs(fmt::format("cannot parse {}", go_quote(o_.metrics_addr)).c_str(), stderr);
      std::_Exit(1);
    }
    const bool tls = url->scheme == "https" || url->scheme == "unixs";
    if (tls && own_server_ == nullptr) {
      return make_error(Code::kInvalidArgument,
                        "cannot listen on TLS for {}: KeyFile and CertFile are not presented", url->host);
    }
    io::ListenAddress address;
    if (url->scheme == "unix" || url->scheme == "unixs") {
      address.unix_socket = true;
      address.host = url->host;
    } else {
      ASSIGN_OR_RETURN(address, listen_address(url->host));
    }
    ASSIGN_OR_RETURN(metrics_listener_,
                     network_.listen(address, {&loop_}, [this, tls](std::unique_ptr<io::Stream> s) {
                       server_->accepted(std::move(s), grpcproxy::Server::Door::kMetrics, tls);
                     }));
    LOG(log_, kInfo, "gRPC proxy listening for metrics", {"address", url->text()});
    LOG(log_, kInfo, "gRPC proxy server metrics URL serving", );
    return {};
  }

  GrpcProxyOptions o_;
  posix::LogSink& log_;
  posix::SystemClock clock_;
  posix::ThreadTimers timers_;
  posix::DiskThread files_, scrape_, client_handshakes_, member_handshakes_;
  std::unique_ptr<io::FileSystem> fs_;
  posix::UvNetwork network_;
  posix::DnsResolver resolver_;
  posix::UvLoop loop_;
  const client::Environment env_;
  tls::HandshakeLimit handshake_limit_;
  uint64_t seed_;
  Prng prng_{seed_};
  metrics::Registry registry_;
  std::unique_ptr<tls::Keeper> own_server_, own_client_, to_members_;
  client::Tls member_tls_;
  std::unique_ptr<client::Client> members_, itself_;
  std::unique_ptr<grpcproxy::Server> server_;
  std::unique_ptr<io::Listener> listener_, metrics_listener_;
  MemberList member_list_{*this};
  std::unique_ptr<io::Timer> sync_timer_;
};

}  // namespace

int run_grpc_proxy(const std::vector<std::string>& args, EndingSignals& signals) {
  GrpcProxyCommand command = read_grpc_proxy_command(args);
  signals.watch();
  if (!command.options) return finish(command.end);
  if (const auto end = check_grpc_proxy_options(*command.options)) return finish(*end);
  auto log = posix::LogSink::open({.level = command.options->debug ? log::Level::kDebug : log::Level::kInfo});
  CHECK(log.has_value(), "standard error cannot fail to open");
  Proxy proxy(std::move(*command.options), **log);
  if (const Result<> started = proxy.start(); !started) {
    (*log)->flush();
    finish({"", fmt::format("{}\n", started.error().text()), 1});
    std::_Exit(1);  // connections may be under way
  }
  signals.handle([&log](int number) { die_with_log(number, **log); });
  const char* socket = std::getenv("NOTIFY_SOCKET");
  notify_init(socket == nullptr ? "" : socket, **log);
  std::promise<void>().get_future().wait();
  return 0;  // not reached
}

}  // namespace quoin::cmd
