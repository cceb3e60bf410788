// One life of a member: a process of the simulated world with the strands a member needs, on a given disk, and
// with the front by which clients of a simulated network reach it.
//
//   Life life(world, disk, config, seed);
//   if (auto r = life.start(); !r) ...   // blocking, as a program's start
//   world.run_until([&] { return life.ready(); }, ...);
//   life.on_loop([&] { life.port().propose(...); });
//   life.kill();                          // as SIGKILL; or stop() first
//
// Threads: the simulation's one thread. Lifetime: world and disk outlive it. Destroying it kills the process.
#pragma once
#include <memory>
#include <optional>

#include "base/metrics.h"
#include "front/front.h"
#include "scenarios/clients.h"
#include "scenarios/edges.h"
#include "scenarios/peer_network.h"
#include "server/member.h"
#include "sim/disk.h"
#include "sim/file_system.h"
#include "sim/log_sink.h"
#include "sim/world.h"

namespace quoin::scenarios {

class Life {
 public:
  // Where it is on the network, and the bounds of its front.
  struct Door {
    Net& net;
    front::Options options;
    size_t loops = 1;
  };
  // `wall_jump_ns` moves this life's wall clock: a machine without a clock battery starts each life at the
  // same moment. Without a door the member is reached through port() alone.
  // `wire`: the network of the members, on which this one has the URL its configuration advertises.
  Life(sim::World& world, sim::SimDisk& disk, const server::Config& config, uint64_t seed,
       int64_t wall_jump_ns = 0, std::optional<Door> door = {}, PeerNetwork* wire = nullptr);
  ~Life();
  // The file strand takes its time from now on: up to `max_ns` after one of ten tasks; 0: no longer.
  void slow_files(uint64_t seed, int64_t max_ns) { file_.set_busy(Prng(seed), max_ns > 0 ? 10 : 0, max_ns); }

  // Opens the data directory and sets the member going.
  Result<> start();
  bool ready() const { return ready_; }
  // What the member reported when it could not go on.
  const std::optional<Error>& failure() const { return failure_; }

  server::Member& member() { return *member_; }
  server::ClientPort& port() { return *port_; }
  io::Executor& loop() { return loop_; }
  void on_loop(Task task) { loop_.post(std::move(task)); }

  // A clean stop, of the front first; false if it does not end within `max_ns`.
  bool stop(int64_t max_ns);
  // What the member's counters tell of edges.
  void count(Edges* edges) const;
  void kill();

  sim::LogSink& log() { return log_; }
  sim::Process& process() { return process_; }

 private:
  void serve();
  Result<server::PeerAnswer> answer(const server::PeerRequest& request);
  bool question(const server::PeerRequest& request, PeerNetwork::Answered done);

  sim::World& world_;
  sim::SimDisk& disk_;
  const server::Config config_;
  const uint64_t seed_;
  sim::LogSink log_;
  metrics::Registry metrics_;
  sim::Process& process_;
  sim::SimExecutor &raft_, &apply_, &append_, &file_, &loop_;
  sim::SimFileSystem append_fs_, file_fs_;
  std::optional<Door> door_;
  std::unique_ptr<PeerNetwork::Peers> peers_;
  std::unique_ptr<server::Member> member_;
  std::unique_ptr<front::Front> front_;
  std::unique_ptr<server::ClientPort> port_;
  bool ready_ = false, stopped_ = false;
  std::optional<Error> failure_;
};

}  // namespace quoin::scenarios
