// When a raft snapshot is due, and making it: every so many entries a `.snap` file, more often one in memory,
// so that the log in memory can be cut.
//
// A snapshot at index N carries the members and the ConfState of N, whatever entries were applied in an
// earlier life of the database.
//
// Threads: apply strand. Lifetime: what the constructor gets outlives it.
// Source: spec raft-and-peers 32.1, storage-formats 5 (crash ordering).
#pragma once
#include <functional>

#include "backend/backend.h"
#include "base/log.h"
#include "membership/membership.h"
#include "server/apply_sink.h"
#include "server/config.h"

namespace quoin::server {

class Snapshots {
 public:
  // `disk`: the newest `.snap` there is. `saved` runs on apply after each `.snap` whose record is in the log.
  Snapshots(const Config& config, MemberId self, Index disk, backend::Backend& backend, ApplySink& sink,
            log::Logger& log, std::function<void()> saved)
      : config_(config),
        self_(self),
        backend_(backend),
        sink_(sink),
        log_(log),
        saved_(std::move(saved)),
        disk_(disk),
        memory_(disk) {}

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
  ApplySink& sink_;
  log::Logger& log_;
  const std::function<void()> saved_;
  Index disk_, memory_;
  bool forced_ = false, running_ = false;
};

}  // namespace quoin::server
