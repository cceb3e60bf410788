// The parts of a running member, for the files of this module that wire them together.
//
// Threads: written once by Member::start, then only read; each part states its own rules.
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "raft/observer.h"
#include "server/append_stage.h"
#include "server/apply_stage.h"
#include "server/member.h"
#include "server/quota.h"
#include "server/raft_stage.h"
#include "server/server_metrics.h"
#include "server/slow_requests.h"

namespace quoin::server {

class Chores;

class Stages final : public RaftSink {
 public:
  Stages(Config config, Environment env);
  ~Stages() override;

  // RaftSink, on the raft strand.
  void append_entries(raft::HardState hard_state, std::vector<raft::Entry> entries,
                      std::vector<raft::Message> responses) override;
  void apply_entries(std::vector<raft::Entry> entries) override;
  void soft_state_changed(const raft::SoftState& state, Term term) override;

  // Any strand: the member can't go on. Only the first reason is told; one from before run() is told by
  // run().
  void failed(Error error);
  // From run() on `report` is told of a failure. False: it has been told of an earlier one.
  bool report_failures_to(std::function<void(Error)> report);

  const Config config;
  Environment env;
  MemberId self;
  ClusterId cluster_id;
  std::unique_ptr<RequestIds> ids;
  Waiters waiters;
  std::unique_ptr<Quota> quota;
  std::unique_ptr<ServerMetrics> metrics;
  std::unique_ptr<SlowRequests> slow_requests;
  std::unique_ptr<wal::Probe> wal_probe;
  std::unique_ptr<snap::Probe> snap_probe;
  std::unique_ptr<raft::Observer> lines;
  std::unique_ptr<ApplyStage> apply;
  std::unique_ptr<AppendStage> append;
  std::unique_ptr<RaftStage> raft;
  std::unique_ptr<Chores> chores;
  std::vector<raft::Entry> forced;
  bool defragment_at_start = false;

 private:
  std::mutex failed_mutex_;
  std::optional<Error> failure_;          // guarded by failed_mutex_: the first
  std::function<void(Error)> on_failed_;  // guarded by failed_mutex_
};

}  // namespace quoin::server
