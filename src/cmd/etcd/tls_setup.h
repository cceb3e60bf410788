// TLS of a running program: certificates of its own making, files that change, threads for handshakes.
//
// Order (spec operations 2.1, 4.1): make_peers() and open_peers() before the peers' addresses are bound, whose faults stop
// the start; make_clients() before the clients' are; check_peers() before other members are reached; load_clients() when
// scrapes or clients are served, which is when etcd finds a missing file.
//
// Threads: the process's own; the keepers look at files on `files`. Errors: etcd's texts.
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "cmd/etcd/config.h"
#include "front/front_tls.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/timer.h"
#include "peer/peer_tls.h"
#include "posix/executors.h"
#include "tls/keeper.h"

namespace quoin::cmd {

class TlsSetup {
 public:
  // All outlive it; `config` gets the paths of certificates that are made here. `files` may block.
  TlsSetup(Config& config, io::FileSystem& file_system, io::Executor& files, io::TimerService& timers,
           const io::Clock& clock, log::Logger& log, metrics::Registry& metrics);
  ~TlsSetup();

  Result<> make_peers();
  Result<> open_peers();
  Result<> make_clients();
  Result<> check_peers();
  Result<> load_clients();
  // The threads end. After the last connection, before the loops.
  void stop();

  // For the front and for the transport; to be used once the steps above have made what they need.
  front::Tls peers();
  front::Tls clients();
  front::Tls scrapes();
  peer::PeerTls to_peers();
  // Waits for name servers; for Tls::check_san.
  io::Executor& lookups() { return lookups_; }

 private:
  // Threads behind one executor, which begin with the first task.
  class Pool final : public io::Executor {
   public:
    Pool(std::string name, int threads) : name_(std::move(name)), count_(threads) {}
    void post(Task task) override;
    bool running_here() const override;
    void stop();

   private:
    const std::string name_;
    const int count_;
    mutable std::mutex mutex_;
    std::vector<std::unique_ptr<posix::DiskThread>> threads_;  // guarded by mutex_
    size_t next_ = 0;                                          // guarded by mutex_
  };
  Result<std::unique_ptr<tls::Keeper>> keep(const tls::Options& options, tls::Role role);
  // True: a certificate was made.
  Result<bool> make(const char* kind, tls::Options& options, bool automatic, const std::vector<Url>& urls);
  void publish(const char* role, tls::Keeper& keeper, tls::HandshakeLimit& limit);
  front::Tls side(const std::unique_ptr<tls::Keeper>& keeper, Pool& handshakes, tls::HandshakeLimit& limit);

  Config& config_;
  io::FileSystem& file_system_;
  io::Executor& files_;
  io::TimerService& timers_;
  const io::Clock& clock_;
  log::Logger& log_;
  metrics::Registry& metrics_;
  bool client_made_ = false, peer_made_ = false;  // by ourselves
  std::unique_ptr<tls::Keeper> client_server_, peer_server_, peer_client_;
  // Apart: thousands of clients that connect at once must not hold up members that find each other again.
  Pool client_handshakes_, peer_handshakes_;
  Pool lookups_;
  tls::HandshakeLimit client_limit_, peer_limit_;
};

}  // namespace quoin::cmd
