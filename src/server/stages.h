// The parts of a running member, each made from those above it.
//
// raft, the log and apply need each other: raft hands entries to the log and to apply, and both answer raft.
// That circle is closed by two interfaces, which this class implements: where raft's effects go (RaftSink)
// and where those of apply go (ApplySink).
//
// Threads: each part states its own rules; what is const here may be read on any thread.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "server/admin.h"
#include "server/append_stage.h"
#include "server/apply_stage.h"
#include "server/bootstrap.h"
#include "server/chores.h"
#include "server/hash_run.h"
#include "server/inbound.h"
#include "server/logins.h"
#include "server/member.h"
#include "server/no_peers.h"
#include "server/peers.h"
#include "server/quota.h"
#include "server/raft_stage.h"
#include "server/server_metrics.h"
#include "server/slow_requests.h"

namespace quoin::server {

class Stages final : public RaftSink, public ApplySink {
 public:
  // `options`: raft_stage_options() of the same configuration.
  Stages(Config config, Environment env, RaftStageOptions options, Bootstrapped b);
  ~Stages() override;

  // RaftSink, on the raft strand.
  void append(AppendBatch batch) override;
  void apply_entries(std::vector<raft::Entry> entries) override;
  void install_snapshot(std::shared_ptr<const raft::Snapshot> snapshot) override;
  void soft_state_changed(const raft::SoftState& state, Term term) override;
  void send(std::vector<raft::Message> messages) override;
  void snapshot_wanted(raft::Message message) override;
  bool connected_since(io::MonotonicNs since, MemberId leader) const override;

  // ApplySink, on the apply strand.
  void propose(Proposal proposal) override;
  void note_applied(Index index) override;
  void entries_applied(Index last, uint64_t encoded_bytes, uint64_t payload_bytes) override;
  void conf_change_applied(raft::ConfChange change, Index at,
                           absl::AnyInvocable<void(raft::ConfState)> done) override;
  void compact_log(Index snapshot_index, raft::ConfState conf_state, Blob snapshot_data, Index upto,
                   uint64_t bytes_max) override;
  bool wants_compaction(uint64_t bytes_max) const override;
  void save_snapshot(raft::Snapshot snapshot, Task done) override;
  void member_changed(const membership::Change& change) override;
  void members_replaced(const membership::Membership& members) override;
  void removed_self() override;
  void empty_entry_applied() override;
  void send_snapshot(raft::Message message, std::shared_ptr<backend::SnapshotSource> source) override;
  void snapshot_failed(MemberId to) override;
  void snapshot_installed(raft::SnapshotMetadata meta) override;

  // The transport told of the end of a transfer.
  void snapshot_sent(MemberId to, bool failed);
  // The end that removed_self() puts off for a second, however the member learned of its removal.
  void stop_removed();
  // The members that this one talks to, from now on.
  void add_peers();

  // Any strand: the member can't go on. Only the first reason is told; one from before run() is told by
  // run().
  void failed(Error error);
  // From run() on `report` is told of a failure. False: it has been told of an earlier one.
  bool report_failures_to(std::function<void(Error)> report);

 private:
  void note_learner();  // tells the metric
  std::mutex failed_mutex_;
  std::optional<Error> failure_;          // guarded by failed_mutex_: the first
  std::function<void(Error)> on_failed_;  // guarded by failed_mutex_

 public:
  const Config config;
  const Environment env;
  const MemberId self;
  const ClusterId cluster_id;
  RequestIds ids;
  Waiters waiters;
  const Quota quota;
  ServerMetrics metrics;
  SlowRequests slow_requests;
  const std::unique_ptr<wal::Probe> wal_probe;
  const std::unique_ptr<snap::Probe> snap_probe;
  const std::unique_ptr<raft::Observer> lines;
  NoPeers no_peers;
  Peers& peers;
  Logins logins;
  RaftStage raft;
  AppendStage appender;
  ApplyStage apply;
  HashRuns hash_runs;
  Chores chores;
  Admin admin;
  Inbound inbound;
  std::unique_ptr<io::Timer> removed_timer;
  // What run() has to do first: write these to the log, rewrite the database.
  raft::HardState made_up;
  std::vector<raft::Entry> forced;
  const bool restarted;  // the directory had a log
  const bool defragment_at_start;
  // The only voter, as far as its log says: nobody else could lead.
  const bool alone;
};

RaftStageOptions raft_stage_options(const Config& config, MemberId self);

}  // namespace quoin::server
