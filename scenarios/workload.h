// Random requests, several outstanding at a time, whose outcomes go into a History. They are calls of Clients,
// some of which are cancelled or cut, so that their outcome stays unknown; or, without Clients, they are handed
// to the member itself.
//
// Threads: the simulation's one thread. Lifetime: history and prng outlive it; a life's callbacks end with
// the life, and what was outstanding then stays unknown.
#pragma once
#include <memory>
#include <string>

#include "base/prng.h"
#include "scenarios/history.h"
#include "scenarios/life.h"
#include "scenarios/operators.h"

namespace quoin::scenarios {

// A hash over what happened and when, to compare two runs.
class Trace {
 public:
  void note(std::string_view what, uint64_t a, uint64_t b);
  uint64_t hash() const { return hash_; }

 private:
  uint64_t hash_ = 14695981039346656037ull;
};

struct WorkloadOptions {
  size_t requests = 200;     // in all
  size_t outstanding = 8;    // at most at a time
  size_t value_bytes = 200;  // of most values; a few are far longer
  size_t long_value_bytes = 30'000;
  uint64_t compact_one_in = 1;  // of the compactions that would be drawn
};

class Workload {
 public:
  Workload(sim::World& world, History& history, Prng& prng, Trace& trace, Operators& operators, Edges& edges)
      : world_(world), history_(history), prng_(prng), trace_(trace), operators_(operators), edges_(edges) {}

  // By what the requests of the next life go; null: the member's own port.
  void use(Clients* clients) { clients_ = clients; }
  // Sends requests to `life` from now on.
  void start(Life& life, WorkloadOptions options);
  // Sends no more.
  void end_life() { life_ = nullptr; }
  bool finished() const { return sent_ >= options_.requests && outstanding_ == 0; }
  // A single put, for progress; true once it is acknowledged.
  void put_once(Life& life, std::shared_ptr<bool> acknowledged);
  // A linearizable read of everything.
  void read_once(Life& life, std::shared_ptr<bool> done);
  // What broke, or empty.
  const std::string& problem() const { return problem_; }
  bool unreadable() const { return unreadable_; }
  size_t reads() const { return reads_; }

 private:
  void on_loop(Life& life, Task task);
  void pump();
  void maintain(Life& life);
  void read(Life& life, bool pumped, std::shared_ptr<bool> done);
  Request draw();
  Effect draw_branch();
  std::string draw_key();
  std::string draw_value();
  void send(Life& life, Request& request, std::shared_ptr<bool> acknowledged);
  void answered(Request& request, const server::Answer& answer);
  void propose(Life& life, Request& request, std::function<void(bool acknowledged)> done);
  void call(Request& request, bool calm, std::function<void(bool acknowledged)> done);
  void called(Request& request, GrpcStatus status, std::string_view text, std::string_view message);
  void acknowledged(Request& request, int64_t revision, int64_t deleted);
  void fail(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
  }

  sim::World& world_;
  History& history_;
  Prng& prng_;
  Trace& trace_;
  Operators& operators_;
  Edges& edges_;
  Clients* clients_ = nullptr;
  WorkloadOptions options_;
  Life* life_ = nullptr;
  size_t sent_ = 0, outstanding_ = 0, reads_ = 0;
  int64_t next_lease_ = 1;
  bool unreadable_ = false;
  std::string problem_;
};

}  // namespace quoin::scenarios
