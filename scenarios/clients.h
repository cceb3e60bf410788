// The clients of one life of a member: a few connections that all callers share, each with a pace of its own,
// cut and made anew at drawn moments.
//
// Threads: the simulation's one thread; calls on the clients' loop. Lifetime: world and network outlive it; a
// Clients is made for a life and ends with it.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/prng.h"
#include "scenarios/client.h"
#include "sim/network.h"
#include "sim/world.h"

namespace quoin::scenarios {

// The network of a run: one host with the member, one with its clients.
struct Net {
  explicit Net(sim::World& world) : network(world) {}
  static io::ListenAddress address() { return {.host = "member", .port = 2379}; }
  sim::SimNetwork network;
  sim::SimHost member{network, "member"}, clients{network, "clients"};
};

class Clients {
 public:
  Clients(sim::World& world, Net& net, uint64_t seed, Edges& edges);
  ~Clients();
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  io::Loop& loop() { return loop_; }
  // One of the connections, drawn.
  std::shared_ptr<Client> any();
  // One that takes everything at once and is not cut.
  std::shared_ptr<Client> steady();
  // Cancels the call at a drawn moment, perhaps at once, one time in `one_in`. True if it may do so.
  bool draw_cancel(const std::shared_ptr<Client>& client, Client::CallId call, uint64_t one_in);
  // A deadline, mostly none.
  int64_t draw_timeout();
  // From now on nobody is slow, and nothing is cancelled or cut.
  void be_quiet();
  bool quiet() const { return quiet_; }
  // The first thing that no client may see; empty if all is well.
  std::string problem() const;
  // Their open calls, for the report of a hang.
  std::string describe() const;
  // Ends them, and what they have on the network.
  void kill();

 private:
  std::shared_ptr<Client> make();
  void cut_later();

  sim::World& world_;
  Net& net_;
  sim::Process& process_;
  sim::SimExecutor& loop_;
  Prng prng_;
  Edges& edges_;
  std::vector<std::shared_ptr<Client>> clients_, ended_;
  std::shared_ptr<Client> steady_;
  bool quiet_ = false;
  int64_t cut_ns_max_ = 0;
  uint64_t cuts_left_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoin::scenarios
