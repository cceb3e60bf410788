// Clients that watch, beside those of the Workload and over the same connections: streams with several watchers
// each, which come and go, and resume on another stream or on the member's next life what they had.
//
//   watching.start(life, clients);        // it serves
//   problem = watching.survived();        // after a read of everything: what was told is still there
//   problem = watching.settle();          // at any time: what was told is what happened, as far as reads saw
//   watching.be_quiet();                  // nothing new is asked; with Clients that are quiet, then
//   world.run_until([&] { return watching.caught_up() || ...; }, ...);
//   watching.disconnect();                // nothing is asked any more, and nothing must come
//   watching.end_life();                  // once the Life is gone
//
// The rules for one watcher stand in watcher.h. Beside them: responses to creations come in their order and
// before any event, nothing comes for a watcher after its cancel response, nobody is cancelled without a
// reason, and a revision a client was told of is there after any accident (what was sent was durable).
//
// Threads: the simulation's one thread. Lifetime: world and history outlive it; it outlives each life.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/prng.h"
#include "scenarios/history.h"
#include "scenarios/life.h"
#include "scenarios/watch_call.h"
#include "scenarios/watcher.h"
#include "scenarios/workload.h"

namespace quoin::scenarios {

struct WatchCounts {
  size_t watchers = 0, resumed = 0, messages = 0, events = 0, fragments = 0, progress = 0, cancelled = 0,
         compacted = 0, refusals = 0, caught_up = 0;
  void add(const WatchCounts& other);
};

class Watching {
 public:
  Watching(sim::World& world, History& history, Trace& trace, Edges& edges, uint64_t seed)
      : world_(world), history_(history), trace_(trace), edges_(edges), prng_(seed ^ 0x3a7c4e5dull) {}
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;

  void start(Life& life, Clients& clients);
  std::string survived();
  std::string settle();
  void be_quiet();
  // Everybody has been told everything a read has seen, and every stream has answered a request for progress.
  bool caught_up();
  // Who has not been told what; for the report of a caught_up() that does not come.
  std::string missing() const;
  void disconnect();
  void end_life();

  const std::string& problem() const { return problem_; }
  const WatchCounts& counts() const { return counts_; }

 private:
  struct Asked {
    std::shared_ptr<Watcher> watcher;  // null: the id is taken, a refusal must come
    int64_t start = 0;                 // as sent
    int64_t at_least = 0;              // acknowledged before
  };
  struct Place {
    std::shared_ptr<Watcher> watcher;
    int64_t start = 0;
    bool cancelling = false;  // the client has sent a cancel
    bool compacted = false;   // only the response to the cancel may come
  };
  // A stream as its client sees it.
  struct Line {
    std::shared_ptr<WatchCall> stream;
    std::deque<Asked> asked;
    std::map<int64_t, Place> places;  // by id
    std::set<int64_t> taken;          // ids that the member holds taken once it has done what was sent so far
    std::set<int64_t> used;           // ids that a watcher had and gave back
    bool progress_answered = false;
  };

  Line& open_line();
  void close_line(Line& line);
  void ended(Line& line, GrpcStatus status, std::string_view text);
  std::vector<std::shared_ptr<Watcher>> leave(Line& line);
  std::vector<Line*> open_lines();
  void act_later();
  void act();
  void ask_progress_later();
  std::shared_ptr<Watcher> draw_watcher();
  void ask(Line& line, std::shared_ptr<Watcher> watcher, int64_t wanted_id = 0);
  void use_again(Line& line);
  void ask_for_taken(Line& line);
  void cancel(Line& line, int64_t id, Place& place);
  void cancel_one(Line& line);
  void receive(Line& line, const mvcc::WatchMessage& m);
  void receive_created(Line& line, const mvcc::WatchMessage& m);
  void receive_cancelled(Line& line, const mvcc::WatchMessage& m, Place& place);
  void receive_progress(Line& line, const mvcc::WatchMessage& m);
  void fail(const Watcher* watcher, const std::string& problem);

  sim::World& world_;
  History& history_;
  Trace& trace_;
  Edges& edges_;
  Prng prng_;
  Life* life_ = nullptr;
  Clients* clients_ = nullptr;
  uint64_t life_number_ = 0;
  bool quiet_ = false;
  std::vector<std::unique_ptr<Line>> lines_;  // those closed stay to the end of the life
  std::vector<std::shared_ptr<Watcher>> watchers_, ended_;
  uint64_t next_watcher_ = 1;
  int64_t told_before_ = 0;  // the newest revision told of in earlier lives
  ChangeLog log_;
  WatchCounts counts_;
  std::string problem_;
};

}  // namespace quoin::scenarios
