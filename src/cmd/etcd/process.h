// The life of a running etcd: threads, listeners, member, and the log lines that tell an operator how far the
// start or stop has come.
//
// What it wires: two disk threads (append, file), one for scrapes, one loop a core for clients, raft and
// apply as strands that run in whoever brings them work.
//
// Order (spec operations 2.1, 2.6): peer and client addresses are bound before the data directory is touched,
// so that a port in use leaves it as it was; then the member is opened and runs, peers and scrapes are
// served, and clients once it has published itself. A stop goes the other way: clients, member, peers. It
// takes no longer than a client may take for a request, and kStopSlackNs: then the process ends without the
// rest of it (stop_guard.h).
//
// Threads: confined to the one that made it, which run() blocks.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "cmd/etcd/config.h"
#include "cmd/etcd/ending.h"
#include "cmd/etcd/signals.h"
#include "cmd/etcd/stop_guard.h"
#include "cmd/etcd/tls_setup.h"
#include "front/front.h"
#include "peer/transport.h"
#include "posix/clock.h"
#include "posix/executors.h"
#include "posix/log_sink.h"
#include "posix/loop.h"
#include "posix/resolver.h"
#include "posix/timers.h"
#include "server/member.h"

namespace quoin::cmd {

class Process {
 public:
  Process(const Config& config, std::vector<Notice> start_notices, std::vector<std::string> argv,
          posix::LogSink& log, StopGuard& guard);
  ~Process();

  // From start to stop. Returns the exit code, and the signal that ended it in `ending`; a failed start ends
  // the process by a fatal line.
  int run(Ending& ending, EndingSignals& signals);

 private:
  static constexpr int64_t kStopSlackNs = 10 * io::kSecond;

  Result<> start(Ending& ending);
  Result<> bind();
  Result<> find_members();
  Result<> open_member();
  void log_member();
  void log_serving();
  [[noreturn]] void fail_start(const Error& error);
  int fail(const Error& error);
  Result<> serve_clients();
  void watch_descriptors();
  void close();
  void bound_stop(std::function<void()> end);
  void close_front_and_member();
  void log_closing(std::string_view message);

  Config config_;  // start() adds what it finds out
  const std::vector<Notice> start_notices_;
  const std::vector<std::string> argv_;
  posix::LogSink& log_;
  StopGuard& guard_;
  uint64_t seed_ = 0;
  metrics::Registry metrics_;
  posix::SystemClock clock_;
  posix::ThreadTimers timers_;
  posix::DiskThread append_, file_, scrape_;
  posix::DiskThread transfer_;  // reads databases on their way to other members
  static constexpr int kPasswordThreadsMax = 8;
  std::vector<std::unique_ptr<posix::DiskThread>> password_threads_;  // hash and sign, nothing else
  std::vector<std::unique_ptr<posix::UvLoop>> loops_;
  std::optional<posix::InlineStrand> raft_, apply_;
  std::unique_ptr<io::FileSystem> append_fs_, file_fs_, scrape_fs_;
  posix::UvNetwork network_;
  posix::DnsResolver resolver_;  // blocks
  TlsSetup tls_;
  posix::UvLoop peer_loop_;
  std::unique_ptr<peer::Transport> transport_;
  std::unique_ptr<server::Member> member_;
  bool running_ = false;
  std::unique_ptr<front::Front> front_;
  std::unique_ptr<io::Timer> descriptor_timer_;
};

}  // namespace quoin::cmd
