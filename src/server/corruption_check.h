// The checks of the stored data that a member makes by itself: once at start (gate InitialCorruptCheck),
// every --corrupt-check-time, and of the hashes that compactions left every --compact-hash-check-time (gate
// CompactHashCheck).
//
// The start check compares with every other member that can be asked; a difference at equal compact revisions
// ends the start. The periodic one, made by the leader, hashes twice around a linearizable read and compares
// itself with itself and with the others. That of compactions, made by the leader too, compares the newest
// hashes that were not compared yet: a majority with one hash shows who is corrupt. A difference raises the
// CORRUPT alarm.
//
// Threads: initial_check() before the strands run; the rest on the apply executor. Hashing is done on file.
// Source: spec operations 6.3.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "io/timer.h"
#include "mvcc/hash_kv.h"
#include "server/hash_run.h"
#include "server/peer_hashes.h"

namespace quoin::server {

class Stages;

// Two hashes of the same state that differ.
bool hashes_contradict(const mvcc::HashKvResult& first, const mvcc::HashKvResult& second);

class CorruptionCheck {
 public:
  // `raise_corrupt` proposes the alarm against a member; 0: it is not known which.
  CorruptionCheck(Stages& stages, std::function<void(MemberId)> raise_corrupt)
      : s_(stages), raise_corrupt_(std::move(raise_corrupt)) {}

  // Blocking. The error is that of the first record that can't be read, with the member's id.
  static Result<> initial_check(Stages& stages);

  void start();
  // No check begins any more; `done` runs once nothing is being hashed, so that no view is held.
  void stop(Task done);

 private:
  void schedule_periodic();
  void schedule_compactions();
  void check_now();
  void check_again(mvcc::HashKvResult first, std::vector<PeerHashAnswer> peers);
  void compare(const mvcc::HashKvResult& first, const HashRunResult& second,
               const std::vector<PeerHashAnswer>& peers);
  void finish(Result<> outcome);
  void check_compactions();
  void check_compaction(std::vector<mvcc::CompactionHash> hashes, size_t next);
  // True: the compaction is settled, whatever came out; false: an older one is to be tried.
  bool compare_compaction(const mvcc::CompactionHash& own, const std::vector<PeerHashAnswer>& peers);
  void hash(absl::AnyInvocable<void(Result<HashRunResult>)> done);

  Stages& s_;
  std::function<void(MemberId)> raise_corrupt_;
  std::unique_ptr<io::Timer> periodic_timer_, compactions_timer_;
  bool checking_ = false;  // between two hashes as well
  bool checking_compactions_ = false;
  int64_t compactions_checked_ = 0;  // the newest revision whose hash all members share
  bool hashing_ = false;
  bool stopped_ = false;
  Task stop_done_;
};

}  // namespace quoin::server
