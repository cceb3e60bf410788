// What clients ask beside the requests of the Workload: reads, leases' state, and what operators do. Each call
// comes to an end, or is cancelled; what it is told is held against what is known.
//
// Rules: a Range or RangeStream holds what the store held at its revision (Reads); a snapshot that was read to
// its end is a sound database file with the right checksum; keepalives are answered in order, a granted lease
// with its TTL and a revoked one with 0.
//
// Threads: the simulation's one thread. Lifetime: history and trace outlive it; it outlives each life.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "base/prng.h"
#include "scenarios/clients.h"
#include "scenarios/history.h"
#include "scenarios/reads.h"

namespace quoin::scenarios {

class Operators {
 public:
  Operators(History& history, Edges& edges, uint64_t seed)
      : history_(history), edges_(edges), prng_(seed ^ 0x09e4a703ull) {}
  Operators(const Operators&) = delete;
  Operators& operator=(const Operators&) = delete;

  // One call, drawn. `done` once it is over; on the clients' loop.
  void one(Clients& clients, std::function<void()> done);
  // Holds the answers of reads against the history, as far as that reaches.
  std::string settle();
  const std::string& problem() const { return problem_; }

 private:
  using Done = std::function<void()>;
  struct Started {
    std::shared_ptr<Client> client;
    Client::CallId call = 0;
  };
  struct RangeRun;
  struct SnapshotRun;
  struct KeepAliveRun;
  ReadAsked draw_read();
  Started range(Clients& clients, Done done);
  Started range_stream(Clients& clients, Done done);
  Started snapshot(Clients& clients, Done done);
  Started keep_alive(Clients& clients, Done done);
  Started time_to_live(Clients& clients, Done done);
  Started leases(Clients& clients, Done done);
  Started alarm(Clients& clients, Done done);
  Started maintain(Clients& clients, Done done);
  // A unary call whose answer `judge` looks at: a problem, or empty.
  Started unary(Clients& clients, std::string_view method, const std::string& request,
                std::function<std::string(std::string_view)> judge, Done done);
  void read_failed(const ReadAsked& asked, std::string_view text);
  void fail(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
  }
  int64_t draw_lease();

  History& history_;
  Edges& edges_;
  Prng prng_;
  Reads reads_;
  std::string problem_;
};

}  // namespace quoin::scenarios
