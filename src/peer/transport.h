// The member's connections to the other members: server::Peers over sockets.
//
//   Transport transport(options, environment);      // fetch_now() works from here on: a member that joins asks others
//   transport.start(member);                        // then everything else
//   ... the front serves paths below /raft by transport.door(), on environment.loop ...
//   transport.stop(done);                           // then the member may end, then the transport
//
// Everything that has to do with sockets happens on one loop, which belongs to nothing else, so that heartbeats never
// queue behind the traffic of clients. The methods may be called on the threads that server/peers.h names; they hand
// over to the loop and never wait, but for fetch_now().
//
// Bounds: peer/options.h, each with a gauge (peer/probe.h).
// Lifetime: what `environment` names outlives the transport and every task that it posted. The transport ends after
// stop() has called back, or when its loop runs no more.
#pragma once
#include <absl/functional/any_invocable.h>
#include <absl/functional/function_ref.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/task.h"
#include "http1/door.h"
#include "io/clock.h"
#include "io/executor.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/timer.h"
#include "peer/options.h"
#include "peer/peer_tls.h"
#include "server/peers.h"

namespace quoin::peer {

class PeerSet;

struct Environment {
  io::Network& network;
  io::Loop& loop;
  io::TimerService& timers;
  io::Clock& clock;
  // Reads databases that are sent. It waits for the disk.
  io::Executor& files;
  metrics::Registry& metrics;
  log::Logger& log;
  // How fetch_now() waits until `over` holds; empty: by blocking the thread. A simulation runs its world instead.
  std::function<void(absl::FunctionRef<bool()> over)> wait;
  PeerTls tls = {};
};

class Transport final : public server::Peers {
 public:
  Transport(Options options, const Environment& environment);
  ~Transport() override;

  // Once, before the first member is added; `handler` outlives stop().
  void start(server::PeerHandler& handler);
  http1::Door& door();
  // Any thread. All connections end; `done` runs on the loop. Answers of fetch() that are out come as kStopped.
  void stop(Task done);

  // server::Peers
  void send(std::vector<raft::Message> messages) override;
  void send_snapshot(raft::Message message, std::shared_ptr<backend::SnapshotSource> source) override;
  void add(MemberId id, std::vector<std::string> urls) override;
  void add_remote(MemberId id, std::vector<std::string> urls) override;
  void update(MemberId id, std::vector<std::string> urls) override;
  void remove(MemberId id) override;
  void remove_all() override;
  std::optional<io::MonotonicNs> active_since(MemberId id) const override;
  void fetch(std::string url, server::PeerRequest request, io::Executor& executor,
             server::PeerAnswered done) override;
  Result<server::PeerAnswer> fetch_now(std::string url, server::PeerRequest request) override;

 private:
  class Core;
  void on_loop(absl::AnyInvocable<void(PeerSet&)> task);

  // Tasks on the loop hold it too: the last of them ends it.
  std::shared_ptr<Core> core_;
  const std::function<void(absl::FunctionRef<bool()>)> wait_;
};

}  // namespace quoin::peer
