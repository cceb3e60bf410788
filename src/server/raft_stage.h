// The raft strand: proposals, ticks and linearizable reads in, entries to persist and entries to apply out.
//
// One run takes everything that is queued (proposals come in batches, one from each loop round), then hands
// out a single Ready: "many proposals stepped, then one Ready".
//
// Threads: everything but the constructor, progress() and the post_* methods runs on the raft executor; the
// post_* methods may be called on any thread.
// Bounds: proposals wait here only while no leader is known and their clients wait (kParkedBytesMax, then
// kTooManyRequests). AppendBacklog bounds what is on its way to the log. Entries that are applied stay in
// memory for followers up to kLogBytesMax. Readers are bounded by their connections' calls.
// Source: spec raft-and-peers 2, 14, 15, 31; design.md section 1.
#pragma once
#include <atomic>
#include <deque>
#include <memory>
#include <unordered_set>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/prng.h"
#include "io/clock.h"
#include "io/executor.h"
#include "io/timer.h"
#include "raft/memory_storage.h"
#include "raft/rawnode.h"
#include "server/answers.h"
#include "server/append_backlog.h"
#include "server/proposal.h"
#include "server/request_ids.h"
#include "server/waiters.h"

namespace quoin::server {

// Where raft's effects go; implemented by the append and apply stages. Called on the raft strand.
class RaftSink {
 public:
  virtual ~RaftSink() = default;
  // Write in order, then hand the same back by post_appended().
  virtual void append_entries(raft::HardState hard_state, std::vector<raft::Entry> entries,
                              std::vector<raft::Message> responses) = 0;
  // Apply in order; then post_applied().
  virtual void apply_entries(std::vector<raft::Entry> entries) = 0;
  // Leadership of this member began or ended, or another leader is known.
  virtual void soft_state_changed(const raft::SoftState& state, Term term) = 0;
};

// What other threads may know of raft's position, published after each Ready.
struct RaftProgress {
  std::atomic<uint64_t> term{0};
  std::atomic<uint64_t> lead{0};
  std::atomic<uint64_t> committed{0};
  std::atomic<uint64_t> last_index{0};
  std::atomic<uint64_t> log_bytes{0};  // of raft's stable log in memory
};

struct RaftStageOptions {
  raft::Config raft;
  int64_t tick_ns = 100 * io::kMillisecond;
  int64_t request_timeout_ns = 7 * io::kSecond;
};

class RaftStage {
 public:
  // Bytes of proposals held while no leader is known.
  static constexpr size_t kParkedBytesMax = 64 << 20;
  // Applied entries that are kept in memory for followers that lag: as many as --snapshot-catchup-entries
  // says, but no more bytes than this. A follower that is further behind gets a snapshot instead.
  static constexpr uint64_t kLogBytesMax = 128 << 20;

  RaftStage(RaftStageOptions options, std::unique_ptr<raft::MemoryStorage> storage, raft::Observer& observer,
            uint64_t seed, io::Executor& strand, io::TimerService& timers, io::Clock& clock, Waiters& waiters,
            RequestIds& ids, RaftSink& sink, log::Logger& log, metrics::Registry& metrics);
  ~RaftStage();

  // Before the strand runs: founds a cluster.
  Result<> bootstrap(const std::vector<raft::Peer>& peers);
  // Ticks at once, so that a single member need not wait for its election timeout.
  void advance_ticks(int ticks);

  // ---- any thread ----
  // For a member alone: nobody else could lead, so there is nothing to wait for.
  void post_campaign();
  void post_proposals(std::vector<Proposal> proposals);
  // Counts a proposal as failed whose client did not wait for its outcome.
  void count_failed();
  // `done` runs on `executor` once everything committed before this call has been applied here, confirmed by
  // a round that began after this call; or with kLeaderChanged, kTimeout, kServerStopped.
  struct Reader {
    io::Executor* executor;
    ReadDone done;
  };
  void post_readers(std::vector<Reader> readers);
  // Starts raft's clock, which runs until post_stop(). Its timer fires on the raft strand, and that runs in
  // the timers' thread if no other thread runs it, so a request that apply works on does not delay it.
  void post_start_ticking();
  void post_appended(std::vector<raft::Entry> entries, raft::HardState hard_state,
                     std::vector<raft::Message> responses);
  void post_applied(Index last, uint64_t encoded_bytes, uint64_t payload_bytes);
  // A committed change, in the order of the log; `done` runs on `executor` with the configuration it led to.
  void post_conf_change(raft::ConfChange change, Index at, io::Executor& executor,
                        absl::AnyInvocable<void(raft::ConfState)> done);
  // The snapshot in memory is now that of `snapshot_index`. Forgets entries up to `upto`, and more of what
  // the snapshot covers while the log is larger than kLogBytesMax.
  void post_compact(Index snapshot_index, raft::ConfState conf_state, Blob snapshot_data, Index upto);
  // Applied by the state machine; apply calls it before it answers (any thread, never decreasing).
  void note_applied(Index index);
  // Refuses everything from now on; waiting readers and parked proposals are answered kServerStopped. `done`
  // gets the last hard state that was handed to the log, for the log's end: raft's own may speak of entries
  // that never reached it.
  void post_stop(io::Executor& executor, absl::AnyInvocable<void(raft::HardState)> done);

  const RaftProgress& progress() const { return progress_; }
  // The log in memory is at its bound: apply offers a snapshot (post_compact) as soon as it can.
  bool wants_compaction() const { return progress_.log_bytes.load(std::memory_order_relaxed) > kLogBytesMax; }
  AppendBacklog& backlog() { return backlog_; }
  Index applied() const { return Index(applied_.load(std::memory_order_acquire)); }
  bool leading() const { return progress_.lead.load(std::memory_order_relaxed) == self_.v; }
  // When the last tick was (monotonic). A keepalive reads it to learn whether this member still runs on time.
  io::MonotonicNs last_tick() const { return last_tick_.load(std::memory_order_relaxed); }

 private:
  struct ReadRound {
    std::unordered_set<uint64_t> ids;  // all ids sent in this round are valid answers; never iterated
    std::vector<Reader> readers;
    io::MonotonicNs started = 0, sent = 0;
  };
  struct WaitApplied {
    Index index;
    std::vector<Reader> readers;
  };
  struct Parked {
    Proposal proposal;
    io::MonotonicNs since = 0;
  };
  struct Probe;
  friend class RaftStagePeer;  // tests: what only the network could bring about

  void schedule_tick();
  void tick();
  void schedule_ready();
  void run_ready();
  void handle_ready(raft::Ready ready);
  void publish();
  void propose(std::vector<Proposal>&& proposals);
  void park(std::vector<Proposal>&& proposals);
  bool retry_parked();
  void taken(const std::vector<Proposal>& proposals);
  void expire(io::MonotonicNs now);
  void refuse(const Proposal& proposal, Error error);
  // Its client has gone, and it counted as failed when that happened.
  bool given_up(const Proposal& proposal) const;
  void drop_given_up();
  Proposal take_parked();
  void start_read_round();
  void send_read_index();
  void on_read_state(const raft::ReadState& state);
  void release_applied_readers();
  void complete(std::vector<Reader>&& readers, const Result<>& result);
  void fail_read_round(Error error);
  void check_read_round(io::MonotonicNs now);

  const RaftStageOptions options_;
  const MemberId self_;
  io::Executor& strand_;
  io::TimerService& timers_;
  io::Clock& clock_;
  Waiters& waiters_;
  RequestIds& ids_;
  RaftSink& sink_;
  log::Logger& log_;
  raft::Observer& observer_;
  Prng prng_;
  std::unique_ptr<raft::MemoryStorage> storage_;
  std::unique_ptr<raft::RawNode> node_;
  raft::LeaderWatch leader_watch_;
  std::unique_ptr<Probe> probe_;
  AppendBacklog backlog_;

  bool stopped_ = false;
  bool ready_scheduled_ = false;
  std::unique_ptr<io::Timer> tick_timer_;
  raft::HardState handed_state_;          // newest given to the log
  uint64_t taken_ = 0, taken_bytes_ = 0;  // admitted proposals that the next Ready hands to the log
  std::deque<Parked> parked_;             // in the order they came
  size_t parked_bytes_ = 0;
  io::MonotonicNs became_leader_ = 0;
  std::vector<Reader> next_readers_;  // wait for the next round
  std::optional<ReadRound> round_;
  std::deque<WaitApplied> wait_applied_;  // by index
  MemberId lead_;
  Outbox outbox_;

  RaftProgress progress_;
  std::atomic<uint64_t> applied_{0};
  std::atomic<bool> applied_wanted_{false};
  std::atomic<io::MonotonicNs> last_tick_{0};
  std::atomic<int64_t> longest_tick_gap_{0};
};

}  // namespace quoin::server
