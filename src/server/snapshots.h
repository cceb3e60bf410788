// When a raft snapshot is due, and making it: every so many entries a `.snap` file, more often one in memory, so
// that the log in memory can be cut.
//
// A snapshot at index N carries the members and the ConfState of N, whatever entries were applied in an
// earlier life of the database.
//
// Threads: apply strand. Lifetime: what the constructor and connect() get outlives it.
// Source: spec raft-and-peers 32.1, storage-formats 5 (crash ordering).
#pragma once
#include <functional>

#include "backend/backend.h"
#include "base/log.h"
#include "membership/membership.h"
#include "server/append_stage.h"
#include "server/config.h"
#include "server/raft_stage.h"

namespace quoin::server {

class Snapshots {
 public:
  // `disk`: the newest `.snap` there is.
  Snapshots(const Config& config, MemberId self, Index disk, backend::Backend& backend, io::Executor& apply,
            log::Logger& log)
      : config_(config),
        self_(self),
        backend_(backend),
        apply_(apply),
        log_(log),
        disk_(disk),
        memory_(disk) {}
  // `saved` runs on apply after each `.snap` whose record is in the log. Before anything below.
  void connect(RaftStage* raft, AppendStage* append, std::function<void()> saved) {
    raft_ = raft;
    append_ = append;
    saved_ = std::move(saved);
  }

  // After each batch: all of it as of the last applied entry.
  struct Moment {
    Index applied;
    Term term;
    const raft::ConfState& conf_state;
    const membership::Membership& members;
  };
  void after_batch(const Moment& now);
  // The next batch makes a `.snap`, however few entries it covers.
  void force() { forced_ = true; }

  // The newest `.snap`, made or being made.
  Index disk() const { return disk_; }
  bool under_way() const { return running_ || forced_; }

 private:
  const Config& config_;
  const MemberId self_;
  backend::Backend& backend_;
  io::Executor& apply_;
  log::Logger& log_;
  RaftStage* raft_ = nullptr;
  AppendStage* append_ = nullptr;
  std::function<void()> saved_;
  Index disk_, memory_;
  bool forced_ = false, running_ = false;
};

}  // namespace quoin::server
