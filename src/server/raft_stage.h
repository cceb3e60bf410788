// The raft strand: proposals, ticks and linearizable reads in, entries to persist and entries to apply out.
//
// One run takes everything that is queued (proposals come in batches, one from each loop round), then hands
// out a single Ready: "many proposals stepped, then one Ready".
//
// Threads: everything but the constructor, progress() and the post_* methods runs on the raft executor; the
// post_* methods may be called on any thread.
// Bounds: proposals wait here only while no leader is known and their clients wait (kParkedBytesMax, then
// kTooManyRequests). AppendBacklog bounds what is on its way to the log. Entries that are applied stay in
// memory for followers up to kLogBytesMax, or kLogBytesSendingMax (snapshots.h). Readers are bounded by their connections' calls.
// Source: spec raft-and-peers 2, 14, 15, 31; design.md section 1.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <algorithm>
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
#include "server/line_limit.h"
#include "server/peers.h"
#include "server/proposal.h"
#include "server/request_ids.h"
#include "server/waiters.h"

namespace quoin::server {

struct RaftProbe;

// One write to the log, in the order of its fields: the snapshot of another member, which replaces all
// before it, with its record; the hard state; the entries. `responses` become due when it is durable.
struct AppendBatch {
  raft::HardState hard_state;
  std::vector<raft::Entry> entries;
  std::shared_ptr<const raft::Snapshot> snapshot;  // null: none
  std::vector<raft::Message> responses;
};

// Where raft's effects go; implemented by the append and apply stages. Called on the raft strand.
class RaftSink {
 public:
  virtual ~RaftSink() = default;
  // Write in order, then hand the same back by post_appended().
  virtual void append(AppendBatch batch) = 0;
  // Apply in order; then post_applied().
  virtual void apply_entries(std::vector<raft::Entry> entries) = 0;
  // The log holds a snapshot that another member sent: replace the state machine by it, once what was handed
  // out before is applied; then post_snapshot_installed(). Nothing more is handed out until then.
  virtual void install_snapshot(std::shared_ptr<const raft::Snapshot> snapshot) = 0;
  // Leadership of this member began or ended, or another leader is known.
  virtual void soft_state_changed(const raft::SoftState& state, Term term) = 0;
  // To other members, each in order; never MsgSnap.
  virtual void send(std::vector<raft::Message> messages) = 0;
  // A member needs a snapshot, which is made when it can be (spec 32.2): `message` names the member and the
  // term. The outcome comes by post_snapshot_sent().
  virtual void snapshot_wanted(raft::Message message) = 0;
  // Whether this member is and was, all the time since then, in touch with the leader, or with a quorum if it
  // leads itself.
  virtual bool connected_since(io::MonotonicNs since, MemberId leader) const = 0;
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
  // The most that may be kept for one to which a snapshot is on its way.
  static constexpr uint64_t kLogBytesSendingMax = 1 << 30;

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
  // The oldest batch that was handed out is durable.
  void post_appended(AppendBatch batch);
  // The state machine is the snapshot's.
  void post_snapshot_installed(Index index);
  void post_applied(Index last, uint64_t encoded_bytes, uint64_t payload_bytes);
  // A committed change, in the order of the log; `done` runs on `executor` with the configuration it led to.
  void post_conf_change(raft::ConfChange change, Index at, io::Executor& executor,
                        absl::AnyInvocable<void(raft::ConfState)> done);
  // The first entry of a new leader's term was applied: a read that waits for the leader asks again.
  void post_first_commit_in_term();

  // ---- other members, any thread (server/peers.h) ----
  void post_messages(std::vector<raft::Message> messages, Charge charge);
  // One message; `done` runs on `executor` once raft took it, or with why it did not.
  void post_message(raft::Message message, Charge charge, io::Executor& executor,
                    absl::AnyInvocable<void(Result<>)> done);
  void post_unreachable(MemberId id);
  void post_snapshot_sent(MemberId id, bool failed);
  // Hands leadership to `target`; `done` runs on `executor` when it leads, or with kNotLeader,
  // kBadLeaderTransferee (unknown, or a learner), kTimeoutLeaderTransfer. One at a time: a later call ends the one
  // before as timed out.
  void post_transfer(MemberId target, io::Executor& executor, absl::AnyInvocable<void(Result<>)> done);
  // How far each member's log is known to match, and whether it is a learner; empty unless this member leads.
  struct Follower {
    MemberId id;
    Index match;
    bool learner = false;
  };
  void post_followers(io::Executor& executor, absl::AnyInvocable<void(std::vector<Follower>)> done);
  // raft's state as JSON, in the form of etcd's.
  void post_status(io::Executor& executor, absl::AnyInvocable<void(std::string)> done);
  // The snapshot in memory is now that of `snapshot_index`. Forgets entries up to `upto`, and more of what
  // the snapshot covers while the log has more than `bytes_max`.
  void post_compact(Index snapshot_index, raft::ConfState conf_state, Blob snapshot_data, Index upto,
                    uint64_t bytes_max = kLogBytesMax);
  // Applied by the state machine; apply calls it before it answers (any thread, never decreasing).
  void note_applied(Index index);
  // Refuses everything from now on; waiting readers and parked proposals are answered kServerStopped. `done`
  // gets the last hard state that was handed to the log, for the log's end (empty: none was): raft's own may speak of
  // entries that never reached it, of those that a start made up, too.
  void post_stop(io::Executor& executor, absl::AnyInvocable<void(raft::HardState)> done);

  const RaftProgress& progress() const { return progress_; }
  // The log in memory is at its bound: apply offers a snapshot (post_compact) as soon as it can.
  bool wants_compaction(uint64_t bytes_max = kLogBytesMax) const {
    return progress_.log_bytes.load(std::memory_order_relaxed) > bytes_max;
  }
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
  // A round's readers, from the leader's answer until it is applied.
  struct WaitApplied {
    Index index;
    std::vector<Reader> readers;
    io::MonotonicNs started = 0, received = 0;  // of the round
    Index applied;                              // when the answer came
  };
  struct Parked {
    Proposal proposal;
    io::MonotonicNs since = 0;
  };
  // Also of one without bytes, as only another member sends it.
  static size_t parked_size(const Proposal& p) { return std::max(p.data.size(), sizeof(Parked)); }
  friend class RaftStagePeer;  // tests: what only the network could bring about

  void schedule_tick();
  void tick();
  void schedule_ready();
  void run_ready();
  void handle_ready(raft::Ready ready);
  void soft_state_changed(const raft::SoftState& state);
  void release(std::vector<raft::Message> responses);
  void send(std::vector<raft::Message> messages);
  void watch_heartbeats(const std::vector<raft::Message>& messages);
  Result<> step(raft::Message message);
  void tell_refused(const Error& error);
  void park_forwarded(raft::Message message);
  void check_transfer(io::MonotonicNs now);
  void end_transfer(const Result<>& result);
  void hand_over_if_stuck(io::MonotonicNs now);
  void publish();
  void propose(std::vector<Proposal>&& proposals);
  void park(std::vector<Proposal>&& proposals);
  bool retry_parked();
  void taken(const std::vector<Proposal>& proposals);
  void expire(io::MonotonicNs now);
  Code timeout_code(io::MonotonicNs since) const;
  void refuse(const Proposal& proposal, Error error);
  // Its client has gone, and it counted as failed when that happened.
  bool given_up(const Proposal& proposal) const;
  void drop_given_up();
  Proposal take_parked();
  void start_read_round();
  void send_read_index();
  void on_read_state(const raft::ReadState& state);
  void release_applied_readers();
  void read_round_done(WaitApplied round);
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
  std::unique_ptr<RaftProbe> probe_;
  LineLimit refusals_;
  AppendBacklog backlog_;

  bool stopped_ = false;
  bool ready_scheduled_ = false;
  std::unique_ptr<io::Timer> tick_timer_;
  raft::HardState handed_state_;          // newest given to the log by this life; empty: none was
  uint64_t taken_ = 0, taken_bytes_ = 0;  // admitted proposals that the next Ready hands to the log
  std::deque<Parked> parked_;             // in the order they came
  size_t parked_bytes_ = 0;
  io::MonotonicNs became_leader_ = 0;
  std::vector<Reader> next_readers_;  // wait for the next round
  std::optional<ReadRound> round_;
  std::deque<WaitApplied> wait_applied_;  // by index
  // From the write of a snapshot to its installation: responses wait here, in order.
  Index installing_;
  std::vector<raft::Message> held_responses_;
  struct Transfer {
    MemberId target;
    io::MonotonicNs deadline = 0;
    io::Executor* executor = nullptr;
    absl::AnyInvocable<void(Result<>)> done;
  };
  std::optional<Transfer> transfer_;
  io::MonotonicNs handed_over_ = 0;                            // the last attempt of hand_over_if_stuck()
  absl::flat_hash_map<MemberId, io::MonotonicNs> heartbeats_;  // the last to each member, while it leads
  MemberId lead_;
  Outbox outbox_;

  RaftProgress progress_;
  std::atomic<uint64_t> applied_{0};
  std::atomic<bool> applied_wanted_{false};
  std::atomic<io::MonotonicNs> last_tick_{0};
  std::atomic<int64_t> longest_tick_gap_{0};
};

}  // namespace quoin::server
