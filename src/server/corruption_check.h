// The checks of the stored data that a member makes by itself: once at start (gate InitialCorruptCheck),
// every --corrupt-check-time, and of the hashes that compactions left every --compact-hash-check-time (gate
// CompactHashCheck).
//
// A member alone has nobody to compare with. What is left, as in etcd: the start check reads every record it
// can reach, and the periodic one hashes twice around a linearizable read; two hashes of one revision that
// differ raise the CORRUPT alarm.
//
// Threads: initial_check() before the strands run; the rest on the apply executor. Hashing is done on file.
// Source: spec operations 6.3.
#pragma once
#include <functional>
#include <memory>

#include "io/timer.h"
#include "mvcc/hash_kv.h"
#include "server/hash_run.h"

namespace quoin::server {

class Stages;

// Two hashes of the same state that differ.
bool hashes_contradict(const mvcc::HashKvResult& first, const mvcc::HashKvResult& second);

class CorruptionCheck {
 public:
  // `raise_corrupt` proposes the alarm against this member.
  CorruptionCheck(Stages& stages, std::function<void()> raise_corrupt)
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
  void check_again(mvcc::HashKvResult first);
  void finish(Result<> outcome);
  void check_compactions();
  void hash(absl::AnyInvocable<void(Result<HashRunResult>)> done);

  Stages& s_;
  std::function<void()> raise_corrupt_;
  std::unique_ptr<io::Timer> periodic_timer_, compactions_timer_;
  bool checking_ = false;  // between two hashes as well
  bool hashing_ = false;
  bool stopped_ = false;
  Task stop_done_;
};

}  // namespace quoin::server
