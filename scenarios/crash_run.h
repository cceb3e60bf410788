// One run: a disk, a seed, and several lives of a member on it, each ended by a drawn accident.
//
// After each accident the image is checked (bolt's whole-file check), a new life starts on it, and before
// anything else everything is read and held against the History; then a write must be acknowledged. Beside
// the requests clients watch (Watching); after a load that came to its end they must be told everything.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "base/prng.h"
#include "scenarios/history.h"
#include "scenarios/life.h"
#include "scenarios/watching.h"
#include "scenarios/workload.h"
#include "sim/disk.h"
#include "sim/world.h"

namespace quoin::scenarios {

// How a life ends.
enum class Accident : uint8_t {
  kPowerLossInBoot,  // power goes at a random disk operation of start and replay
  kPowerLoss,        // at a random disk operation under load
  kCrash,            // at a random step, with the disk idle or not
  kKill,             // the process alone dies
  kStop,             // clean
  kDiskFault,        // an operation fails once
  kDiskFull,
};
inline constexpr size_t kAccidents = 7;
const char* accident_name(Accident accident);

struct Counts {
  size_t lives = 0, requests = 0, acknowledged = 0, reads = 0, failures_reported = 0, steps = 0;
  std::array<size_t, kAccidents> accidents{};
  // Damaged images: refused at start, refused while running, served right.
  size_t damaged = 0, refused_at_start = 0, refused_later = 0, served_right = 0;
  WatchCounts watches;
  Edges edges;
};

struct CrashOptions {
  // A failed disk operation may end the process alone. Then the next life sees what a failed sync left in the
  // page cache, no later sync makes that durable, and a later power loss takes it away: start-up must write
  // it anew.
  bool keep_cache = false;
  // Clients reach the member through its services and a network, and some of them watch. Without it requests are
  // handed to the member itself and nobody watches; that is another run of the seed.
  bool network = true;
};

class CrashRun {
 public:
  explicit CrashRun(uint64_t seed, const CrashOptions& options = {});
  // Prints the log of every life.
  void tell() { tell_ = true; }
  // What broke, or empty.
  std::string run();
  uint64_t trace() const { return trace_.hash(); }
  const Counts& counts() const { return counts_; }

 private:
  server::Config draw_config();
  Life::Door draw_door();
  void draw_latencies();
  std::string one_life(Accident accident);
  // Sets the accident up; called before start (booting) and once the member serves.
  void arm_before_start(Accident accident);
  void arm_when_serving(Accident accident);
  std::string start_up(Life& life, Accident accident);
  std::string check_start(Life& life);
  std::string load(Life& life, Accident accident);
  std::string stop(Life& life, WorkloadOptions options);
  std::string let_watchers_catch_up(Life& life);
  std::string write_once(Life& life);
  void end_accident(Accident accident);
  std::string hear_the_last(Life& life);
  std::string after_failure(Life& life, Accident accident);
  std::string damage();
  void tell_life(Accident accident, Life& life);
  // The life can't go on, by its own word or for want of power.
  bool over(Life& life) const { return disk_.power_lost() || life.failure().has_value(); }
  std::string problem() const;
  // What clients were told is what happened, as far as reads have seen it.
  std::string settle();

  const uint64_t seed_;
  const CrashOptions options_;
  bool tell_ = false;
  Prng prng_;
  sim::World world_;
  sim::SimDisk disk_;
  server::Config config_;
  History history_;
  Trace trace_;
  Counts counts_;
  Operators operators_;
  Workload workload_;
  Watching watching_;
  std::unique_ptr<Net> net_;
  std::unique_ptr<Clients> clients_;  // of the life under way
  Prng net_prng_;
  uint64_t compact_one_in_ = 1;
  bool fault_set_ = false;     // a failure of this life has a cause
  bool clock_battery_ = true;  // else every life's wall clock starts at the same moment
};

// Flips a bit of a cleanly stopped image and starts a member on it: it may refuse, naming the file, or serve
// what it served before; never anything else. A problem, or empty.
std::string damage_and_start(sim::World& world, const sim::SimDisk& disk, const server::Config& config,
                             const History& history, Prng& prng, Trace& trace, Counts* counts);

}  // namespace quoin::scenarios
