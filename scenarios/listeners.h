// Watchers of a simulated cluster, which go on at another member when theirs is gone, and whose events must be the
// Truth's: each one of their range, once, in order, with none left out.
//
// They watch by the members' WatchTable, with what a stream does around it: it refuses messages now and then, and
// runs the CatchUp on the client's loop.
//
// Threads: the simulation's one thread. Lifetime: the others outlive it; it outlives the cluster's lives.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "scenarios/cluster.h"
#include "scenarios/edges.h"
#include "scenarios/story.h"
#include "scenarios/truth.h"

namespace quoin::scenarios {

class Listeners {
 public:
  Listeners(Cluster& cluster, Truth& truth, Story& story, Edges& edges, uint64_t seed);
  ~Listeners();

  // Those without a member choose one of `usable`; some change theirs.
  void tick(const std::vector<size_t>& usable);
  // Nobody refuses or moves any more.
  void be_quiet() { quiet_ = true; }
  // The member at this seat has come to its end.
  void life_ended(size_t seat);
  // What came is held against the truth, as far as that is known.
  void check();
  // A seat where a watcher has just begun to catch up, slowly: a compaction there may overtake it. Told once.
  std::optional<size_t> slow_catch_up() { return std::exchange(slow_catch_up_, std::nullopt); }
  // Everybody was told everything.
  bool complete() const;
  // Who was not.
  std::string behind() const;
  const std::string& problem() const { return problem_; }
  size_t events() const { return events_; }

 private:
  class Sink;
  struct Seen {
    enum class Kind : uint8_t { kEvent, kProgress, kCompacted, kEndOfMessage } kind;
    int64_t revision = 0;  // of the event, of progress, of the compaction
    bool tombstone = false;
    std::string key, bytes;
  };
  struct Listener {
    size_t number = 0;
    std::string key, end;
    int64_t next = 2;  // the revision that the next event has at least
    size_t next_record = 0;
    std::vector<Seen> seen;  // not held against the truth yet
    std::shared_ptr<Sink> sink;
    size_t seat = 0;
    io::MonotonicNs rests_until = 0;
  };
  void attach(Listener& listener, size_t seat);
  void detach(Listener& listener);
  std::string check_one(Listener& listener, const Seen& seen);
  // The next record of the range from listener.next on and before `limit`; moves on to it.
  const TruthRecord* upcoming(Listener& listener, int64_t limit) const;
  void fail(std::string problem);

  Cluster& cluster_;
  Truth& truth_;
  Story& story_;
  Edges& edges_;
  Prng prng_, aim_prng_;
  std::optional<size_t> slow_catch_up_;
  bool quiet_ = false;
  std::vector<Listener> listeners_;
  std::vector<std::shared_ptr<Sink>> old_;  // tables may still name them
  size_t events_ = 0;
  std::string problem_;
};

}  // namespace quoin::scenarios
