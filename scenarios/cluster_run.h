// One run of a cluster: several members, a seed, faults of every kind while clients write, read and watch; then all
// is healed, and the members must go on and agree.
//
//   ClusterRun run(seed);
//   std::string problem = run.run();   // empty: all is well
//
// Phase one asks for safety alone (Traffic, Listeners, Truth; never two leaders in one term; no member fails of
// itself). Phase two heals everything and asks for progress within bounded virtual time: a leader, an acknowledged
// write, equal members, watchers that were told everything, leases that end. The one exception is proved by the
// run itself, see stranded(); what is safe is checked there, too. Where etcd's cluster would need an operator's hand,
// the run lends it, late and for that reason alone (cluster_operator.cc).
//
// Threads: the simulation's one thread.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "scenarios/cluster.h"
#include "scenarios/edges.h"
#include "scenarios/listeners.h"
#include "scenarios/story.h"
#include "scenarios/traffic.h"
#include "scenarios/truth.h"

namespace quoin::scenarios {

struct ClusterCounts {
  TrafficCounts traffic;
  NetworkCounts network;
  size_t lives = 0, events = 0, revisions = 0;
  double seconds = 0;  // virtual
  Edges edges;
};

class ClusterRun {
 public:
  explicit ClusterRun(uint64_t seed);
  ~ClusterRun();
  std::string run();
  uint64_t trace() const { return story_.hash(); }
  const Story& story() const { return story_; }
  // The log lines of the lives that have not ended, and the last ones of those that have.
  std::string logs() const;
  ClusterCounts counts() const;

 private:
  enum class Act : uint8_t {
    kKill,
    kCrash,
    kPowerLoss,
    kDiskFault,
    kStopClean,
    kPause,
    kDrift,
    kJump,
    kSlowDisk,
    kStuckSyncs,
    kFaultyNetwork,
    kCut,
    kPartition,
    kMend,
    kTransfer,
    kAddLearner,
    kAddVoter,
    kPromote,
    kRemove,
    kDefragment,
  };
  static constexpr size_t kActs = 20;
  static constexpr size_t kSeatsMax = 9;
  struct Seat {
    MemberId id;            // 0: not known yet
    bool founder = false;   // starts without being listed
    bool gone = false;      // removed for good
    bool stopping = false;  // was asked to end, in this life
    bool faulty = false;    // this life may fail
    bool started = false;   // has run at least once
    bool was_up = false;    // has served at least once: it will find what it needs on its disk
    // A bit of its data has flipped; this start's flip cut the log, or broke the database; it is given up for that; and
    // another one is in its place.
    bool flipped = false, log_cut = false, db_findings = false, damaged = false, replaced = false;
    std::string flip_file;
    bool verify = false;  // all records are to be looked at
    int64_t known = 1;    // revisions compared in this life
    int64_t shown = 0;    // the newest revision it has shown in this life
    io::MonotonicNs restart_at = 0, resume_at = 0, unstick_at = 0, end_at = 0;
    // When somebody had applied its removal; when it had ended for good.
    io::MonotonicNs left_at = 0, gone_at = 0;
    std::set<size_t> not_told;  // those that may have missed it
    bool back_at_once = false;  // its next life begins soon
    // What its log is about to be given.
    bool snapshot_comes = false, record_comes = false, change_comes = false;
    uint64_t own_removal = 0;  // the change by which it was asked to remove itself, until that is answered
    size_t log_seen = 0;
    std::vector<std::string> last_log;
  };

  void draw_config(size_t seat);
  void draw_latencies(size_t seat);
  void observe(const raft::Message& message);
  bool step(int64_t ns);
  void poll();
  void poll_seat(size_t i);
  void compare(size_t i);
  void poll_log(size_t i);
  void start(size_t i);
  void end_life(size_t i, bool crash, std::string_view why);
  std::vector<size_t> usable() const;
  std::optional<size_t> any_running();
  void act();
  void act(Act what);
  void change_members(membership::ChangeKind kind);
  void ask_for_change(size_t i, const membership::Change& change, std::string_view what);
  std::set<MemberId> voters_by_any_word() const;
  std::set<MemberId> voters_at_most() const;
  bool goes_on_without_newcomers(const membership::Change& change) const;
  bool can_lose(size_t i) const;
  void maybe_flip(size_t i);
  void started_after_flip(size_t i);
  void refused_after_flip(size_t i, std::string_view text);
  void take_for_damaged(size_t i, std::string_view how);
  void replace_damaged();
  void seat_new_members();
  std::set<MemberId> listed() const;
  Seat* seat_of(MemberId id);
  void aim_at_own_removal(size_t i);
  void aim_at_vote(const raft::Message& message);
  void aim_at_log(const raft::Message& message);
  void before_operation(size_t i, sim::Op op, std::string_view path);
  void end_aims();
  struct Image {
    size_t seat = 0;
    std::unique_ptr<sim::SimDisk> disk;
  };
  void look_at_images();
  std::string look_at(Image& image);
  void stop_while_it_stands_still(size_t i);
  bool in_trouble(size_t i, size_t from);
  bool known_as_removed(MemberId id);
  void watch_removals();
  bool stranded();
  std::string left_too_early();
  void make_way_for_joiners();
  bool outrun_without_pre_vote();
  void switch_pre_vote_on();
  void heal();
  std::string demand_progress();
  std::string check_end();
  std::string check_ends_of_leases_and_watches();
  std::string check_hashes();
  void fail(std::string problem);
  bool failed() const { return !problem_.empty(); }

  const uint64_t seed_;
  Prng prng_;
  Cluster cluster_;
  Story story_;
  Edges edges_;
  Truth truth_;
  Traffic traffic_;
  Listeners listeners_;
  server::Config base_;
  std::vector<Seat> seats_;
  std::set<Act> acts_;
  uint64_t act_one_in_ = 10, crash_on_snapshot_ = 0;
  struct Vote {
    size_t from = 0, to = 0;
    Term term;
    io::MonotonicNs until = 0;
    bool given = false;
  };
  const size_t founders_ = cluster_.size();
  bool aim_at_votes_ = false;
  std::optional<Vote> vote_;
  Prng image_prng_;
  size_t images_left_ = 0;
  std::vector<Image> images_;
  std::set<MemberId> removals_asked_, removals_open_;
  std::set<MemberId> learners_;  // added as such, and never asked to be more
  Prng flip_prng_, aim_prng_, slow_prng_;
  bool flips_ = false;
  int64_t slow_files_ns_ = 0;  // how long the file strand may be busy after a task; 0: never
  io::MonotonicNs ask_again_at_ = 0;
  bool healing_ = false, stranded_ = false;
  std::map<uint64_t, MemberId> leaders_;                     // by term
  std::map<std::pair<MemberId, uint64_t>, MemberId> votes_;  // given by whom in which term: to whom
  std::set<MemberId> snapshots_for_;                         // sent since the last step
  std::map<uint64_t, std::string> planned_;                  // members asked for: id and URL
  bool change_open_ = false;
  uint64_t next_id_ = 0x1001, changes_ = 0;
  size_t lives_ = 0;
  std::string problem_;
};

}  // namespace quoin::scenarios
