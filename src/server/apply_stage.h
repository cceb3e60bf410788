// The apply strand: committed entries in, state changes, published views, watch events and answers out.
//
// Per batch (at most kBatchEntries entries, which together do about as much as that many puts of small
// values, and no further one after kBatchNs): each entry is applied under its own consistent index; then the
// view is published, watches are served, the applied index becomes known, answers leave; then a bounded piece
// of index maintenance. While the backend's segment is full no entry is taken.
//
// Serving the watches may take several tasks. Until the last one nothing more is applied, no answer of the
// batch leaves, and requests to the watch table wait (between_batches).
//
// An entry that touches very many keys is a batch of its own and goes on over several tasks. Between them
// other tasks of the strand run (watches, renewals, questions), but nothing is applied, published or frozen:
// what is seen outside is the state before the entry, then the state after it.
//
// Threads: post_* and published state on any thread; the rest on the apply executor.
// Bounds: entries queued here are committed ones, of which the server lets in at most kGapMax more than
// applied. Errors: a fault that ends the member (an unreadable entry, a storage fault) goes to `failed`. Then
// nothing more is applied and nothing of the entry that failed is ever committed; the answers of the entries
// before it still leave. Source: spec raft-and-peers 27, 30, 32, 33.
#pragma once
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "io/timer.h"
#include "lease/lessor.h"
#include "membership/cluster.h"
#include "mvcc/watch.h"
#include "server/applier.h"
#include "server/apply_sink.h"
#include "server/auth_store.h"
#include "server/compaction_log.h"
#include "server/open_state.h"
#include "server/request_ids.h"
#include "server/server_metrics.h"
#include "server/slow_requests.h"
#include "server/snapshots.h"
#include "server/waiters.h"

namespace quoin::server {

class ApplyStage {
 public:
  static constexpr size_t kBatchEntries = 128;
  // Work of a batch, in keys looked at or changed, after which it ends.
  static constexpr size_t kBatchWork = Applier::kKeysPerStep;
  // So many bytes of an entry cost about as much work as a key, because they are copied into a record.
  static constexpr size_t kBytesPerKey = 16u << 10;
  // After this time a batch takes no further entry, because values that are read may come from the disk. The
  // clock is read each time that this much work is done, so that small puts do not pay for it.
  static constexpr int64_t kBatchNs = io::kMillisecond / 2;
  static constexpr size_t kWorkPerClockRead = 16;
  static constexpr uint64_t kGapMax = 5'000;  // committed - applied beyond which proposals are refused
  static constexpr size_t kMaintainBudget = 2'000;

  // What start-up found; the stage owns it from here on.
  struct State {
    std::unique_ptr<backend::Backend> backend;
    std::unique_ptr<lease::Lessor> lessor;
    std::unique_ptr<LeaseGlue> glue;
    std::unique_ptr<CompactionLog> compaction_log;
    std::unique_ptr<mvcc::Store> store;
    std::unique_ptr<membership::Cluster> cluster;
    std::unique_ptr<Alarms> alarms;
    std::unique_ptr<AuthStore> auth;
    // As of the snapshot the log starts from. Followed up to the consistent index of the database, whose
    // members count from there on.
    membership::Membership replay;
    raft::ConfState conf_state;
    Index applied;  // of the snapshot the log starts from
    Term applied_term;
    Index disk_snapshot;  // newest `.snap`
    // Last entry of the log at start. What is replayed up to it was asked for in an earlier life: it answers
    // nobody, even if a wall clock that went back makes this life's request ids repeat that one's. (A leader
    // of a later term may replace entries up to here; those are new.)
    Index log_end;
    Term log_end_term;
  };
  // Reads the database that was received for an index (open_received()).
  using OpenReceived =
      std::function<Result<ReceivedState>(Index, std::shared_ptr<backend::Probe>, mvcc::CompactionObserver*)>;
  // The references outlive the stage. `open_received` runs on `file`. `failed`: once, on the apply strand.
  ApplyStage(const Config& config, MemberId self, State state, io::Executor& strand, io::Executor& file,
             io::Clock& clock, log::Logger& log, metrics::Registry& metrics, ServerMetrics& server_metrics,
             SlowRequests& slow_requests, Waiters& waiters, RequestIds& ids, Logins& logins, ApplySink& sink,
             OpenReceived open_received, std::function<void(Error)> failed);
  ~ApplyStage();

  // ---- any thread ----
  void post_entries(std::vector<raft::Entry> entries);
  // Replaces the state by the one that another member sent, once what was posted before is applied.
  void post_snapshot(std::shared_ptr<const raft::Snapshot> snapshot);
  // A member asks for a snapshot: made now or between two batches, and given to ApplySink::send_snapshot().
  void post_snapshot_wanted(raft::Message message);
  void post_snapshot_sent(bool failed);
  void post_soft_state(raft::SoftState state, Term term);
  io::Executor& strand() { return strand_; }
  // Never null. After stop() a view that knows the keys and refuses their values (mvcc::Store::close).
  std::shared_ptr<const mvcc::ReadView> view() const { return state_.store->views().load(); }
  int64_t revision() const { return state_.store->views().revision(); }
  // mvcc::Store::count_ranges.
  void count_ranges(size_t ranges) { state_.store->count_ranges(ranges); }
  std::shared_ptr<const membership::Membership> members() const { return state_.cluster->view(); }
  bool any_learner() const { return state_.cluster->any_learner(); }
  // The present sizes, not those of the last batch: a defragmentation or a compaction changes them between
  // batches.
  uint64_t backend_size() const { return backend::file_size(*backend_probe_); }
  uint64_t backend_size_in_use() const { return backend::file_size_in_use(*backend_probe_); }
  // Under a lock; for Status and health.
  std::vector<Alarm> alarms() const;
  std::string storage_version() const;

  // ---- apply strand ----
  bool stopped() const { return stopped_; }
  bool leading() const { return soft_state_.role == raft::Role::kLeader; }
  Term leading_term() const { return soft_state_term_; }
  Index applied() const { return applied_; }
  // Null once stopped.
  mvcc::WatchTable* watches() { return watches_.get(); }
  mvcc::Store& store() { return *state_.store; }
  lease::Lessor& lessor() { return *state_.lessor; }
  AuthApply& auth() { return auth_; }
  // Before the strand runs.
  void listen_to_auth(auth::Listener& listener) { state_.auth->listen(listener); }
  // Starts the maintenance that is due (freeing, index compaction, promotion of leases), which goes on in
  // tasks of its own. Called after each batch, and on ticks for work that an open view had put off.
  void maintain();
  backend::Backend& backend() { return *state_.backend; }
  membership::Cluster& cluster() { return *state_.cluster; }
  // Runs `task` when no entry is in the middle of being applied and no snapshot is being installed: now, or
  // after that. For questions about state that is changed step by step, and for what needs the backend.
  void between_entries(Task task);
  // Runs `task` when the backend is there: now, or when a received snapshot is installed.
  void with_backend(Task task);
  // Runs `task` when no batch is being published: now, or after that. For what concerns the watches.
  void between_batches(Task task);
  // Runs `task` once everything up to `index` has been applied; now if it has.
  void when_applied(Index index, Task task);
  // Publishes what clients may see of alarms, members and versions.
  void publish_status();
  // Brings the schema of the file to the cluster version, if it differs and the log allows it.
  void follow_cluster_version();
  // Asks for a `.snap` at the next batch's end, however few entries it covers.
  void force_snapshot() { snapshots_.force(); }
  // Takes no further entry and closes watches, store and backend; then `done` runs on `executor`.
  void stop(io::Executor& executor, Task done);

 private:
  bool replayed(const raft::Entry& e) const {
    return e.index <= state_.log_end && e.term <= state_.log_end_term;
  }
  void run();
  // The entry that is applied in steps.
  struct Large {
    raft::Entry entry;
    wire::etcdserverpb::InternalRaftRequest request;  // views into the entry
    std::optional<Waiter> waiter;
    io::MonotonicNs start = 0;
  };
  enum class Verdict : uint8_t {
    kApplied,
    kFailed,  // fail() was called
    kLarge,   // nothing was done: it is to go in steps
  };
  Verdict apply_entry(const raft::Entry& entry);
  void count_applied(const raft::Entry& entry);
  void begin_large(raft::Entry entry);
  void step_large();
  void run_later();
  // Of a received snapshot.
  void begin_install();
  void finish_install(Result<ReceivedState> received);
  void adopt(ReceivedState received, const raft::Snapshot& snapshot, membership::Membership members);
  void make_snapshot(raft::Message wanted);
  raft::Message snapshot_message(raft::Message wanted, const backend::SnapshotSource& source, Error* error);
  void watch_backend();
  void make_applier();
  void release_applied_waiters();
  void close(io::Executor& executor, Task done);
  void apply_normal(const raft::Entry& entry);
  void apply_conf_change(const raft::Entry& entry);
  void apply_request(const raft::Entry& entry, const wire::etcdserverpb::InternalRaftRequest& request,
                     uint64_t id);
  // Logs, raises the alarm, answers.
  void conclude(const raft::Entry& entry, const wire::etcdserverpb::InternalRaftRequest& request,
                std::optional<Waiter> waiter, Applier::Outcome outcome, io::MonotonicNs start);
  // Metrics and lines about it; the outcome's answer is told the times.
  void note_applied_request(const wire::etcdserverpb::InternalRaftRequest& request, io::MonotonicNs start,
                            Applier::Outcome* outcome);
  std::string response_text(const Applier::Outcome& outcome) const;
  static bool is_cluster_request(const wire::etcdserverpb::InternalRaftRequest& request);
  // Also of entries that the database holds already: the membership as of each index counts.
  std::optional<Error> apply_cluster_request(const wire::etcdserverpb::InternalRaftRequest& request,
                                             bool effective);
  void answer(Waiter waiter, Answer answer);
  void raise_nospace(Waiter waiter, Answer answer);
  // Publishes what was applied, in as many tasks as that takes, then end_batch().
  void finish_batch(uint64_t encoded_bytes, uint64_t payload_bytes);
  void publish_step();
  void replaced_step();
  // Answers, and what has waited for the end of the batch, leave; the next one begins.
  void end_batch();
  void run_waiting();
  // An entry, a publication, a snapshot or what has waited for them is in the middle of its steps.
  bool in_steps() const { return large_ || publishing_ || waiting_now_ > 0 || installing_ || replacing_; }
  bool effective(Index index) const { return index > consistent_at_start_; }
  // As of the last applied entry.
  const membership::Membership& members_now() const;
  void fail(Error error);

  const Config& config_;
  const MemberId self_;
  State state_;
  io::Executor& strand_;
  io::Executor& file_;
  io::Clock& clock_;
  log::Logger& log_;
  metrics::Registry& registry_;
  ServerMetrics& metrics_;
  SlowRequests& slow_requests_;
  Waiters& waiters_;
  RequestIds& ids_;
  ApplySink& sink_;
  OpenReceived open_received_;
  std::function<void(Error)> failed_;
  const Quota quota_;
  AuthApply auth_;
  const std::shared_ptr<backend::Probe> backend_probe_;
  std::unique_ptr<mvcc::WatchTable> watches_;
  std::unique_ptr<Applier> applier_;

  std::deque<raft::Entry> queue_;
  bool running_ = false;      // run() is posted
  bool conf_change_ = false;  // waits for raft to take a configuration change
  bool met_large_ = false;    // the entry being looked at is one
  size_t batch_work_ = 0;     // done for the batch so far
  std::unique_ptr<Large> large_;
  // A batch that is applied and being published.
  struct Publishing {
    uint64_t encoded_bytes = 0, payload_bytes = 0;
  };
  std::optional<Publishing> publishing_;
  std::deque<Task> after_steps_;  // wait for the end of the two
  size_t waiting_now_ = 0;        // of these, how many are run before the next batch; 0 until the end of it
  Task stop_after_steps_;
  bool stopped_ = false;
  bool maintaining_ = false;
  io::MonotonicNs index_compaction_ns_ = 0;  // of the one under way
  Index applied_;
  Term applied_term_;
  Snapshots snapshots_;
  // Of the database, at the start or when a snapshot was installed: up to here it holds all effects.
  Index consistent_at_start_;
  std::shared_ptr<const raft::Snapshot> arriving_;    // to be installed behind queue_
  std::shared_ptr<const raft::Snapshot> installing_;  // the backend is closed, and another one is being read
  bool backend_closed_ = false;
  bool replacing_ = false;  // watchers fall back to the state that was installed
  bool reading_ = false;    // the file strand is
  Index newest_36_entry_;   // newest entry that 3.5 could not read
  raft::SoftState soft_state_;
  Term soft_state_term_;
  Outbox outbox_;
  std::multimap<Index, Task> waiting_applied_;

  mutable std::mutex status_mutex_;
  std::vector<Alarm> published_alarms_;    // guarded by status_mutex_
  std::string published_storage_version_;  // guarded by status_mutex_
  metrics::Gauge& applied_gauge_;
  metrics::Gauge& installing_gauge_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // for what the file strand brings back
};

}  // namespace quoin::server
