#include "cmd/etcd/process.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>

#include "base/check.h"
#include "base/go_text.h"
#include "cmd/etcd/auth_setup.h"
#include "cmd/etcd/config_start.h"
#include "cmd/etcd/config_url.h"
#include "cmd/etcd/data_dir.h"
#include "cmd/etcd/descriptors.h"
#include "cmd/etcd/notify.h"
#include "cmd/etcd/process_stats.h"
#include "cmd/etcd/srv_discovery.h"
#include "cmd/etcd/wiring.h"
#include "httpapi/constant_metrics.h"
#include "posix/file.h"
#include "server/admin.h"
#include "wal/wal.h"

namespace quoin::cmd {

Process::Process(const Config& config, std::vector<Notice> start_notices, std::vector<std::string> argv,
                 posix::LogSink& log, StopGuard& guard)
    : config_(config),
      start_notices_(std::move(start_notices)),
      argv_(std::move(argv)),
      log_(log),
      guard_(guard),
      seed_(static_cast<uint64_t>(std::random_device{}()) << 32 | std::random_device{}()),
      timers_(clock_),
      append_("append"),
      file_("file"),
      scrape_("scrape"),
      transfer_("transfer"),
      append_fs_(posix::make_file_system(append_)),
      file_fs_(posix::make_file_system(file_)),
      scrape_fs_(posix::make_file_system(scrape_)),
      tls_(config_, *scrape_fs_, scrape_, timers_, clock_, log_, metrics_),
      peer_loop_("peer") {
  const int cores = usable_processors();
  for (int i = 0; i < cores; ++i) {
    loops_.push_back(std::make_unique<posix::UvLoop>(fmt::format("client{}", i)));
    loops_.back()->post([] { posix::LogSink::forbid_waiting(); });
  }
  peer_loop_.post([] { posix::LogSink::forbid_waiting(); });
  append_.post([] { posix::LogSink::forbid_waiting(); });
  file_.post([] { posix::LogSink::forbid_waiting(); });
  transfer_.post([] { posix::LogSink::forbid_waiting(); });
  for (int i = 0; i < std::min(cores, kPasswordThreadsMax); ++i) {
    password_threads_.push_back(std::make_unique<posix::DiskThread>(fmt::format("password{}", i)));
    password_threads_.back()->post([] { posix::LogSink::forbid_waiting(); });
  }
  scrape_.post([] { posix::LogSink::forbid_waiting(); });
  raft_.emplace(*loops_[0], posix::StrandOptions{.in_timers_thread = true});
  apply_.emplace(*loops_.back());
  raft_->meter().publish(metrics_, "raft");
  apply_->meter().publish(metrics_, "apply");
  for (size_t i = 0; i < loops_.size(); ++i) loops_[i]->meter().publish(metrics_, fmt::format("client{}", i));
  peer_loop_.meter().publish(metrics_, "peer");
}

Process::~Process() = default;

int Process::run(Ending& ending, EndingSignals& signals) {
  if (Result<> started = start(ending); !started) fail_start(started.error());
  if (ending.wait_ready()) {
    if (const Result<> serving = serve_clients(); !serving) return fail(serving.error());
    signals.handle([&ending](int number) { ending.signal(number); });
    const char* socket = getenv("NOTIFY_SOCKET");
    notify_init(socket == nullptr ? "" : socket, log_);
    ending.wait();
  }
  if (const auto failure = ending.failure()) return fail(*failure);
  bound_stop([number = ending.signal_number()] { EndingSignals::die_by(number); });
  LOG(log_, kInfo, "received signal; shutting down",
      {"signal", ending.signal_number() == SIGINT ? "interrupt" : "terminated"});
  close();
  return 0;
}

void Process::bound_stop(std::function<void()> end) {
  guard_.begin(config_.server.request_timeout_ns() + kStopSlackNs, std::move(end));
}

Result<> Process::start(Ending& ending) {
  emit(start_notices_, log_);
  TRY(bind());
  ASSIGN_OR_RETURN(const bool initialized, wal::exists(*append_fs_, config_.wal_path()));
  if (!initialized) {
    if (!config_.bootstrap_error.empty()) return Error(Code::kUnsupported, config_.bootstrap_error);
    TRY(find_members());
  }
  if (!config_.auto_compaction_error.empty()) {
    return Error(Code::kInvalidArgument, config_.auto_compaction_error);
  }
  config_.local_address = infer_local_address(config_, log_);
  log_starting(config_, initialized, usable_processors(), log_);
  log_request_limit(config_, log_);
  if (const Result<> opened = open_member(); !opened) {
    LOG(log_, kError, "bootstrap failed", {"error", opened.error().text()});
    return opened.error();
  }
  if (const Result<> right = member_->check_data(); !right) {
    LOG(log_, kError, "checkInitialHashKV failed", {"error", right.error().text()});
    return right.error();
  }
  transport_->start(member_->peer_handler());
  warn_of_bcrypt_cost(config_, log_);
  log_quota(config_, log_);
  log_member();
  front_->attach(*member_);
  front_->set_peer_door(transport_->door());
  file_.post([this] { watch_descriptors(); });
  running_ = true;
  member_->run(
      *loops_[0], [&ending] { ending.ready(); }, [&ending](Error e) { ending.fail(std::move(e)); });
  log_running(config_, member_->id(), member_->members().size(), log_);
  front_->serve_peers();
  for (const std::string& address : front_->peer_addresses()) {
    LOG(log_, kInfo, "serving peer traffic", {"address", address});
    LOG(log_, kInfo, "cmux::serve", {"address", address});
  }
  if (!config_.client_tls.empty()) {
    LOG(log_, kInfo, "starting with client TLS", {"tls-info", config_.client_tls.describe()},
        {"cipher-suites", config_.cipher_suites});
  }
  TRY(check_ports(config_.listen_metrics_urls));
  for (const Url& url : config_.listen_metrics_urls) {
    if (!url.is_tls()) continue;
    if (config_.client_tls.empty()) {
      return make_error(
          Code::kInvalidArgument,
          "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url");
    }
    TRY(tls_.load_clients());
  }
  TRY(front_->serve_metrics());
  for (const std::string& url : texts(config_.listen_metrics_urls)) {
    LOG(log_, kInfo, "serving metrics", {"address", url});
  }
  log_serving();
  return {};
}

// Of a directory without a log: what --initial-cluster or the records of a domain say.
Result<> Process::find_members() {
  if (!config_.discovery_srv.empty()) {
    ASSIGN_OR_RETURN(config_.initial_cluster, discover_by_srv(config_, resolver_, log_));
  }
  ASSIGN_OR_RETURN(const auto members, config_.initial_members());
  config_.server.initial_cluster.assign(members.begin(), members.end());
  return {};
}

// The addresses, before anything of the data directory is touched.
Result<> Process::bind() {
  front::Options options = front_options(config_);
  options.seed = seed_;
  options.peer_loop = &peer_loop_;
  options.client_tls = tls_.clients();
  options.peer_tls = tls_.peers();
  options.metrics_tls = tls_.scrapes();
  options.resolver = &resolver_;
  options.lookups = &tls_.lookups();
  options.http.argv = argv_;
  options.http.process_stats = [] { return read_process_stats(); };
  options.http.background = [this](Task task) { scrape_.post(std::move(task)); };
  const DescriptorLimit limit = descriptor_limit();
  options.connections_max = limit.connections_max();
  std::vector<io::Loop*> loops;
  for (auto& l : loops_) loops.push_back(l.get());
  front_ = std::make_unique<front::Front>(std::move(options), std::move(loops), network_, timers_, clock_,
                                          log_, metrics_);
  if (config_.socket_reuse_address || config_.socket_reuse_port) {
    LOG(log_, kInfo, "configuring socket options", {"reuse-address", config_.socket_reuse_address},
        {"reuse-port", config_.socket_reuse_port});
  }
  LOG(log_, kInfo, "configuring peer listeners", {"listen-peer-urls", texts(config_.listen_peer_urls)});
  TRY(tls_.make_peers());
  warn_of_unused_peer_tls(config_, log_);
  Result<> bound = check_ports(config_.listen_peer_urls);
  if (bound) bound = tls_.open_peers();
  if (bound) bound = front_->bind_peers();
  if (!bound) {
    LOG(log_, kError, "creating peer listener failed", {"error", bound.error().text()});
    return bound.error();
  }
  LOG(log_, kInfo, "configuring client listeners", {"listen-client-urls", texts(config_.listen_client_urls)});
  for (const Url& http : config_.listen_client_http_urls) {
    for (const Url& grpc : config_.listen_client_urls) {
      if (http.host + http.path != grpc.host + grpc.path) continue;
      return make_error(
          Code::kInvalidArgument,
          "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url {}",
          http.text());
    }
  }
  TRY(tls_.make_clients());
  warn_of_unused_client_tls(config_, log_);
  TRY(check_ports(config_.listen_client_urls));
  TRY(check_ports(config_.listen_client_http_urls));
  TRY(front_->bind_clients());
  if (limit.open_max <= DescriptorLimit::kReserved) {
    LOG(log_, kFatal, "file descriptor limit of etcd process is too low; please set higher",
        {"limit", limit.open_max}, {"recommended-limit", DescriptorLimit::kReserved});
  }
  return {};
}

Result<> Process::open_member() {
  server::Environment env{*raft_,  *apply_, append_, file_,    *append_fs_, *file_fs_,
                          timers_, clock_,  log_,    metrics_, seed_};
  TRY(tls_.check_peers());
  // Only what is touched: the whole of every mapping and thread stack would not fit into main memory.
  if (config_.memory_mlock && mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) {
    return make_error(Code::kIo, "mlock error: {}", go_errno_text(errno));
  }
  httpapi::register_constant_metrics(metrics_, constant_metrics(config_));
  wait_for_database(config_.snap_path() + "/db", *file_fs_, clock_, log_);
  transport_ = std::make_unique<peer::Transport>(
      peer_options(config_),
      peer::Environment{
          network_, peer_loop_, timers_, clock_, transfer_, metrics_, log_, {}, tls_.to_peers()});
  env.peers = transport_.get();
  env.resolver = &resolver_;
  for (auto& thread : password_threads_) env.passwords.push_back(thread.get());
  TRY(set_up_auth(config_, log_, &config_.server));
  ASSIGN_OR_RETURN(member_, server::Member::start(config_.server, env));
  return {};
}

void Process::log_member() {
  const std::string version = member_->cluster_version();  // "3.6.0"
  if (version.empty()) {
    LOG(log_, kInfo, "starting etcd server", {"local-member-id", log::Hex{member_->id().v}},
        {"local-server-version", kEtcdVersion}, {"cluster-version", "to_be_decided"});
  } else {
    LOG(log_, kInfo, "starting etcd server", {"local-member-id", log::Hex{member_->id().v}},
        {"local-server-version", kEtcdVersion}, {"cluster-id", log::Hex{member_->cluster_id().v}},
        {"cluster-version", version.substr(0, version.rfind('.'))});
  }
}

void Process::log_serving() {
  LOG(log_, kInfo, "now serving peer/client/metrics", {"local-member-id", log::Hex{member_->id().v}},
      {"initial-advertise-peer-urls", texts(config_.initial_advertise_peer_urls)},
      {"listen-peer-urls", texts(config_.listen_peer_urls)},
      {"advertise-client-urls", texts(config_.advertise_client_urls)},
      {"listen-client-urls", texts(config_.listen_client_urls)},
      {"listen-metrics-urls", texts(config_.listen_metrics_urls)});
}

Result<> Process::serve_clients() {
  const auto doors = front_->client_doors();
  const bool secure = std::any_of(doors.begin(), doors.end(), [](const auto& d) { return d.tls; });
  if (const Result<> loaded = secure ? tls_.load_clients() : Result<>(); !loaded) {
    LOG(log_, kError, "setting up serving from embedded etcd failed.", {"error", loaded.error().text()});
    LOG(log_, kFatal, "listener failed", {"error", loaded.error().text()});
    return loaded.error();
  }
  front_->serve_clients();
  for (const front::Front::ClientDoor& door : doors) {
    LOG(log_, kInfo, "ready to serve client requests", );
    if (door.traffic != "http") {
      LOG(log_, kInfo, "grpc service status changed", {"service", ""}, {"status", "SERVING"});
    }
    if (door.plain) {
      LOG(log_, kInfo, "serving client traffic insecurely; this is strongly discouraged!",
          {"traffic", door.traffic}, {"address", door.address});
    }
    if (door.tls) {
      LOG(log_, kInfo, "serving client traffic securely", {"traffic", door.traffic},
          {"address", door.address});
    }
  }
  return {};
}

// At start and every ten minutes, on the file thread: it reads a directory.
void Process::watch_descriptors() {
  constexpr int64_t kEveryNs = 600 * io::kSecond;
  warn_of_descriptors(count_descriptors(), descriptor_limit().open_max, log_);
  descriptor_timer_ = timers_.schedule(kEveryNs, file_, [this] { watch_descriptors(); });
}

void Process::fail_start(const Error& error) {
  bound_stop([] { _exit(1); });
  log_closing("closing etcd server");
  close_front_and_member();
  log_closing("closed etcd server");
  LOG(log_, kFatal, "discovery failed", {"error", error.text()});
  log_.flush();
  _exit(1);
}

int Process::fail(const Error& error) {
  if (error.code() == Code::kStopped) {  // removed from the cluster
    bound_stop([] { _exit(0); });
    LOG(log_, kWarn, "data-dir used by this member must be removed", );
    close();
    return 0;
  }
  // Nothing that depends on what failed may be said or written any more.
  bound_stop([] { _exit(1); });
  LOG(log_, kFatal, "member cannot go on", {"error", error.text()});
  log_.flush();
  _exit(1);
}

void Process::log_closing(std::string_view message) {
  log_.log(log::Event{log::Level::kInfo,
                      message,
                      {{"name", config_.server.name},
                       {"data-dir", config_.server.data_dir},
                       {"advertise-peer-urls", texts(config_.initial_advertise_peer_urls)},
                       {"advertise-client-urls", texts(config_.advertise_client_urls)}},
                      __FILE__,
                      __LINE__});
}

// As far as it was started: clients, member, peers.
void Process::close_front_and_member() {
  if (!running_) {
    front_->close_listeners();
    // Listeners close, and unix sockets go, on the first loop.
    Latch closed;
    loops_[0]->post(closed.done());
    return closed.wait();
  }
  guard_.waits_for("the file thread");
  Latch timer_gone;  // the file thread sets it anew
  file_.post([this, done = timer_gone.done()]() mutable {
    descriptor_timer_.reset();
    done();
  });
  timer_gone.wait();
  guard_.waits_for("clients");
  Latch clients_gone;
  front_->stop_clients(config_.server.request_timeout_ns(), clients_gone.done());
  clients_gone.wait();
  guard_.waits_for("the next leader");
  Latch handed_over;
  member_->admin().hand_over(*loops_[0], handed_over.done());
  handed_over.wait();
  guard_.waits_for("the member");
  Latch member_done;
  member_->stop(*loops_[0], member_done.done());
  member_done.wait();
  guard_.waits_for("connections to other members");
  Latch transport_done;
  transport_->stop(transport_done.done());
  transport_done.wait();
  const std::vector<std::string> peers = front_->peer_addresses();
  for (const std::string& address : peers) {
    LOG(log_, kInfo, "stopping serving peer traffic", {"address", address});
  }
  guard_.waits_for("peers");
  Latch peers_gone;
  front_->stop_peers(io::kSecond, peers_gone.done());
  peers_gone.wait();
  for (const std::string& address : peers) {
    LOG(log_, kInfo, "stopped serving peer traffic", {"address", address});
  }
}

void Process::close() {
  log_closing("closing etcd server");
  close_front_and_member();
  guard_.waits_for("the threads");
  timers_.stop();
  append_.stop();
  file_.stop();
  scrape_.stop();
  transfer_.stop();
  for (auto& thread : password_threads_) thread->stop();
  tls_.stop();
  peer_loop_.stop();
  for (auto& l : loops_) l->stop();
  log_closing("closed etcd server");
}

}  // namespace quoin::cmd
