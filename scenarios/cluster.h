// Members of one cluster in one simulated world, each on a disk of its own, driven from outside.
//
//   Cluster cluster(seed, 3);
//   cluster.start_all();
//   const size_t leader = cluster.wait_leader();
//   cluster.put(leader, "k", "v");
//   cluster.kill(leader); ... cluster.start(leader);
//
// Threads: the simulation's one thread.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "membership/membership.h"
#include "scenarios/life.h"
#include "scenarios/peer_network.h"
#include "wire/raft_internal.h"

namespace quoin::scenarios {

class Cluster {
 public:
  static constexpr int64_t kMaxNs = 60 * io::kSecond;

  // `members` founders, named m0, m1, ...
  Cluster(uint64_t seed, size_t members);
  ~Cluster();

  sim::World& world() { return world_; }
  PeerNetwork& network() { return network_; }
  size_t size() const { return seats_.size(); }
  server::Config& config(size_t i) { return seats_[i]->config; }
  sim::SimDisk& disk(size_t i) { return seats_[i]->disk; }
  bool running(size_t i) const { return seats_[i]->life != nullptr; }
  Life& life(size_t i) { return *seats_[i]->life; }
  server::Member& member(size_t i) { return seats_[i]->life->member(); }
  const std::string& url(size_t i) const { return seats_[i]->config.initial_advertise_peer_urls.front(); }

  // Another seat, with an empty disk, for a member that is added to the running cluster; returns its number. It is
  // configured to join those that run. `url`: of a member that has gone, if it takes over its address.
  size_t add_seat(std::string url = {});
  // The members by the word of the one that a joiner will ask first: what it is told to join.
  void configure_join(size_t i);

  Result<> start(size_t i);
  void start_all();
  // As SIGKILL; `crash`: the machine's power goes too.
  void kill(size_t i, bool crash = false);
  bool stop(size_t i);

  // Who leads by its own word and that of a majority; waits for it. None: there was none in kMaxNs.
  std::optional<size_t> wait_leader();
  std::optional<size_t> leader() const;
  bool run_until(absl::FunctionRef<bool()> done, int64_t max_ns = kMaxNs) {
    return world_.run_until(done, max_ns);
  }
  void run_for(int64_t ns) { world_.run_for(ns); }

  // Proposes at one member and waits; the answer's error, or kTimeout if none came.
  Result<> ask(size_t i, wire::etcdserverpb::InternalRaftRequest request, int64_t max_ns = kMaxNs);
  Result<> put(size_t i, std::string_view key, std::string_view value, int64_t max_ns = kMaxNs);
  // A linearizable read at one member.
  Result<std::optional<std::string>> get(size_t i, std::string_view key, int64_t max_ns = kMaxNs);
  // The cluster admits a change: what Admin::change says.
  Result<> change(size_t i, const membership::Change& change, int64_t max_ns = kMaxNs);
  // All running members have applied as much, and hold the same.
  bool wait_equal(int64_t max_ns = kMaxNs);

 private:
  struct Seat {
    Seat(sim::World& world, size_t number);
    server::Config config;
    sim::SimDisk disk;
    std::unique_ptr<Life> life;
    uint64_t lives = 0;
  };
  sim::World world_;
  PeerNetwork network_;
  std::vector<std::unique_ptr<Seat>> seats_;
};

}  // namespace quoin::scenarios
