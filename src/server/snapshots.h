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
#include <memory>

#include "backend/backend.h"
#include "base/log.h"
#include "io/clock.h"
#include "membership/membership.h"
#include "server/apply_sink.h"
#include "server/config.h"

namespace quoin::server {

class Snapshots {
 public:
  // While a snapshot is on its way to another member, and afterwards for twice the time that took, but for at least
  // kKeepAfterSentNs, the log in memory is not cut: that member reads the database in, and goes on from there. etcd
  // keeps the log without a bound while a snapshot is sent, and 5,000 entries from then on.
  // The bound here is the size of the database, within RaftStage::kLogBytesMax and kLogBytesSendingMax: of a log that
  // is longer, another snapshot is the shorter way, and a member that more is written for than its network carries
  // cannot follow at all. What is cut at the bound is counted (quoin_raft_log_cut_while_sending_total); that member
  // then gets another snapshot.
  static constexpr int64_t kKeepAfterSentNs = 30 * io::kSecond;

  // `disk`: the newest `.snap` there is. `saved` runs on apply after each `.snap` whose record is in the log.
  Snapshots(const Config& config, MemberId self, Index disk, const std::unique_ptr<backend::Backend>& backend,
            ApplySink& sink, io::Clock& clock, log::Logger& log, std::function<void()> saved)
      : config_(config),
        self_(self),
        backend_(backend),
        sink_(sink),
        clock_(clock),
        log_(log),
        saved_(std::move(saved)),
        disk_(disk),
        memory_(disk) {}

  // Of the log in memory, while it is kept for somebody or not.
  static uint64_t log_bytes_max(bool keeps, uint64_t database_bytes);

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

  // A snapshot for another member begins, and ends.
  void sending();
  void sent(bool failed);
  // The state is that of a received snapshot, whose `.snap` is there.
  void replaced(Index disk);

 private:
  // Somebody goes on from the log as it is.
  bool keeps_log() const { return sending_ > 0 || (keep_until_ != 0 && clock_.monotonic() < keep_until_); }

  const Config& config_;
  const MemberId self_;
  const std::unique_ptr<backend::Backend>& backend_;
  ApplySink& sink_;
  io::Clock& clock_;
  log::Logger& log_;
  const std::function<void()> saved_;
  Index disk_, memory_;
  bool forced_ = false, running_ = false;
  uint64_t era_ = 0;  // of the backend: what it promised ends with it
  size_t sending_ = 0;
  io::MonotonicNs began_ = 0;  // the oldest of those
  bool told_kept_ = false;
  io::MonotonicNs keep_until_ = 0;
};

}  // namespace quoin::server
