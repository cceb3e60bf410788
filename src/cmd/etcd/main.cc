// The etcd program: command line, wiring, signals. What it wires: two disk threads (append, file), one loop a
// core for clients, raft and apply as strands that run in whoever brings them work.
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <random>
#include <thread>

#include "cmd/etcd/config.h"
#include "cmd/etcd/config_log.h"
#include "cmd/etcd/config_start.h"
#include "cmd/etcd/process_stats.h"
#include "cmd/etcd/wiring.h"
#include "front/front.h"
#include "httpapi/constant_metrics.h"
#include "posix/clock.h"
#include "posix/executors.h"
#include "posix/file.h"
#include "posix/log_sink.h"
#include "posix/loop.h"
#include "posix/timers.h"
#include "server/member.h"
#include "wal/wal.h"

extern char** environ;

namespace quoin::cmd {
namespace {

// The first thing that ends the process: a signal, or a reason why the member can't go on.
class Ending {
 public:
  void signal(int number) {
    std::lock_guard lock(mutex_);
    if (signal_ == 0 && !failure_) signal_ = number;
    changed_.notify_all();
  }
  void fail(Error error) {
    std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(error);
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return signal_ != 0 || failure_; });
  }
  int signal_number() const { return signal_; }
  const std::optional<Error>& failure() const { return failure_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int signal_ = 0;
  std::optional<Error> failure_;
};

// A task's end, for the thread that waits for it.
class Latch {
 public:
  Task done() {
    return [this] {
      std::lock_guard lock(mutex_);
      set_ = true;
      changed_.notify_all();
    };
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

// READY=1 to the init daemon's socket, if it named one.
void notify_init(log::Logger& log) {
  LOG(log, kInfo, "notifying init daemon", );
  const char* path = getenv("NOTIFY_SOCKET");
  if (path != nullptr && *path != '\0') {
    sockaddr_un to = {};
    to.sun_family = AF_UNIX;
    const size_t n = std::min(strlen(path), sizeof to.sun_path - 1);
    memcpy(to.sun_path, path, n);
    if (to.sun_path[0] == '@') to.sun_path[0] = '\0';
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + n);
    const bool sent = fd >= 0 && sendto(fd, "READY=1", 7, 0, reinterpret_cast<sockaddr*>(&to), length) == 7;
    if (fd >= 0) ::close(fd);
    if (!sent) {
      LOG(log, kError, "failed to notify systemd for readiness", {"error", strerror(errno)});
      return;
    }
  }
  LOG(log, kInfo, "successfully notified init daemon", );
}

// Everything a running member stands on, torn down in the reverse order.
class Process {
 public:
  Process(const Config& config, std::vector<std::string> argv, posix::LogSink& log)
      : config_(config),
        argv_(std::move(argv)),
        log_(log),
        timers_(clock_),
        append_("append"),
        file_("file") {
    const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
    for (unsigned i = 0; i < cores; ++i) {
      loops_.push_back(std::make_unique<posix::UvLoop>(fmt::format("client{}", i)));
      loops_.back()->post([] { posix::LogSink::forbid_waiting(); });
    }
    append_.post([] { posix::LogSink::forbid_waiting(); });
    file_.post([] { posix::LogSink::forbid_waiting(); });
    raft_.emplace(*loops_[0]);
    apply_.emplace(*loops_.back());
    append_fs_ = posix::make_file_system(append_);
    file_fs_ = posix::make_file_system(file_);
  }

  // The exit code.
  int run(Ending& ending) {
    if (Result<> started = start(ending); !started) {
      LOG(log_, kError, "bootstrap failed", {"error", started.error().text()});
      LOG(log_, kError, "discovery failed", {"error", started.error().text()});
      log_.flush();
      // Threads may hold what a failed start left; the process ends without unwinding them.
      _exit(1);
    }
    ending.wait();
    if (ending.failure()) return fail(*ending.failure());
    LOG(log_, kInfo, "received signal; shutting down",
        {"signal", ending.signal_number() == SIGINT ? "interrupt" : "terminated"});
    stop();
    return 0;
  }

 private:
  Result<> start(Ending& ending) {
    server::Environment env{*raft_, *apply_, append_,  file_, *append_fs_, *file_fs_, timers_,
                            clock_, log_,    metrics_, 0};
    env.seed = static_cast<uint64_t>(std::random_device{}()) << 32 | std::random_device{}();
    httpapi::register_constant_metrics(metrics_, constant_metrics(config_));
    LOG(log_, kInfo, "configuring client listeners",
        {"listen-client-urls", texts(config_.listen_client_urls)});
    ASSIGN_OR_RETURN(member_, server::Member::start(server_config(config_), env));
    std::vector<io::Loop*> loops;
    for (auto& l : loops_) loops.push_back(l.get());
    front::Options options = front_options(config_);
    options.seed = env.seed;
    options.http.argv = argv_;
    options.http.process_stats = [] { return read_process_stats(); };
    front_ = std::make_unique<front::Front>(*member_, std::move(options), std::move(loops), network_, timers_,
                                            clock_, log_, metrics_);
    TRY(front_->listen());
    LOG(log_, kInfo, "now serving peer/client/metrics", {"local-member-id", log::Hex{member_->id().v}},
        {"initial-advertise-peer-urls", texts(config_.initial_advertise_peer_urls)},
        {"listen-peer-urls", texts(config_.listen_peer_urls)},
        {"advertise-client-urls", texts(config_.advertise_client_urls)},
        {"listen-client-urls", texts(config_.listen_client_urls)},
        {"listen-metrics-urls", texts(config_.listen_metrics_urls)});
    member_->run(
        *loops_[0], [this] { ready(); }, [&ending](Error e) { ending.fail(std::move(e)); });
    return {};
  }

  // On the first loop.
  void ready() {
    front_->serve();
    LOG(log_, kInfo, "ready to serve client requests", );
    for (const std::string& address : front_->client_addresses()) {
      LOG(log_, kInfo, "serving client traffic insecurely; this is strongly discouraged!",
          {"traffic", config_.listen_client_http_urls.empty() ? "grpc+http" : "grpc"}, {"address", address});
    }
    for (const std::string& address : front_->metrics_addresses()) {
      LOG(log_, kInfo, "serving metrics", {"address", address});
    }
    notify_init(log_);
  }

  int fail(const Error& error) {
    if (error.code() == Code::kStopped) {  // removed from the cluster
      LOG(log_, kWarn, "data-dir used by this member must be removed", );
      stop();
      return 0;
    }
    // Nothing that depends on what failed may be said or written any more.
    log_.log(
        log::Event{log::Level::kFatal, "member cannot go on", {{"error", error.text()}}, __FILE__, __LINE__});
    log_.flush();
    _exit(1);
  }

  void stop() {
    const std::vector<std::string> peers = texts(config_.initial_advertise_peer_urls);
    const std::vector<std::string> clients = texts(config_.advertise_client_urls);
    LOG(log_, kInfo, "closing etcd server", {"name", config_.name}, {"data-dir", config_.data_dir},
        {"advertise-peer-urls", peers}, {"advertise-client-urls", clients});
    Latch front_done;
    front_->stop(config_.request_timeout(), front_done.done());
    front_done.wait();
    LOG(log_, kInfo, "skipped leadership transfer for single voting member cluster",
        {"local-member-id", log::Hex{member_->id().v}},
        {"current-leader-member-id", log::Hex{member_->leader().v}});
    Latch member_done;
    member_->stop(*loops_[0], member_done.done());
    member_done.wait();
    timers_.stop();
    append_.stop();
    file_.stop();
    for (auto& l : loops_) l->stop();
    LOG(log_, kInfo, "closed etcd server", {"name", config_.name}, {"data-dir", config_.data_dir},
        {"advertise-peer-urls", peers}, {"advertise-client-urls", clients});
  }

  const Config& config_;
  const std::vector<std::string> argv_;
  posix::LogSink& log_;
  metrics::Registry metrics_;
  posix::SystemClock clock_;
  posix::ThreadTimers timers_;
  posix::DiskThread append_, file_;
  std::vector<std::unique_ptr<posix::UvLoop>> loops_;
  std::optional<posix::InlineStrand> raft_, apply_;
  std::unique_ptr<io::FileSystem> append_fs_, file_fs_;
  posix::UvNetwork network_;
  std::unique_ptr<server::Member> member_;
  std::unique_ptr<front::Front> front_;
};

bool member_initialized(const Config& config) {
  posix::DiskThread thread("probe");
  auto fs = posix::make_file_system(thread);
  auto there = wal::exists(*fs, config.wal_path());
  return there && *there;
}

// What the data directory holds, as etcd tells it at start.
void describe_data_dir(const Config& config, bool initialized, log::Logger& log) {
  if (initialized) {
    LOG(log, kInfo, "server has already been initialized", {"data-dir", config.data_dir},
        {"dir-type", "member"});
  } else {
    LOG(log, kInfo, "Initialize and start etcd server", {"data-dir", config.data_dir}, {"dir-type", "empty"});
  }
}

int run(const std::vector<std::string>& args, const Environment& environment) {
  // Blocked before any thread starts (the log's is the first), so that only the waiter below gets them.
  sigset_t set = ending_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  Command command = read_command_line(args, environment);
  Logging logging = start_logging(command);
  if (!logging.sink) return logging.exit_code;
  posix::LogSink& log = *logging.sink;
  posix::install_sigbus_report();
  signal(SIGPIPE, SIG_IGN);

  const bool initialized = member_initialized(command.config);
  describe_data_dir(command.config, initialized, log);
  emit(command.start_notices, log);
  if (!initialized) {
    if (Result<> ok = command.config.check_bootstrap(); !ok) {
      LOG(log, kError, "bootstrap failed", {"error", ok.error().text()});
      LOG(log, kError, "discovery failed", {"error", ok.error().text()});
      return 1;
    }
  }
  log_starting(command.config, initialized, static_cast<int>(std::thread::hardware_concurrency()), log);

  Ending ending;
  std::thread([&ending, set] {
    int number = 0;
    while (sigwait(&set, &number) == 0) ending.signal(number);
  }).detach();
  const int code = Process(command.config, args, log).run(ending);
  log.flush();
  if (const int number = ending.signal_number()) {
    // The signal ends the process after all, so that the parent sees what it sent.
    logging.sink.reset();
    signal(number, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    pthread_kill(pthread_self(), number);
  }
  return code;
}

}  // namespace
}  // namespace quoin::cmd

int main(int argc, char** argv) {
  quoin::cmd::Environment environment;
  for (char** e = environ; *e != nullptr; ++e) environment.emplace_back(*e);
  return quoin::cmd::run({argv, argv + argc}, environment);
}
