// Automatic compaction: when to propose which revision. Pure; the member gives it time and revisions.
//
// Periodic, retention P: a revision is noted every r = min(P, 1h)/10; the oldest note, about P old, is
// compacted once P has passed since the start and then once every min(P, 1h). Revision, retention N: every
// five minutes to current - N. Threads: confined to the caller's strand. Source: spec operations 8.1.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>

#include "io/clock.h"
#include "server/config.h"

namespace quoin::server {

class Compactor {
 public:
  // `mode` is not kNone and retention > 0.
  Compactor(Config::AutoCompaction mode, int64_t retention, io::MonotonicNs now);

  // How long to sleep between two calls of tick().
  int64_t interval_ns() const { return interval_ns_; }
  // A revision to propose now, if any; none while this member does not lead. Called then, too: a leader must know the
  // revisions of before it led, or it would take the newest for the oldest and compact all history.
  std::optional<int64_t> tick(io::MonotonicNs now, int64_t current_revision, bool leading);
  // The proposal's outcome; one that was compacted already counts as done.
  void done(int64_t revision, bool succeeded, io::MonotonicNs now);

 private:
  const Config::AutoCompaction mode_;
  const int64_t retention_;
  int64_t interval_ns_;
  size_t window_ = 1;
  std::deque<int64_t> notes_;
  io::MonotonicNs last_;
  int64_t wait_ns_;  // between the last success and the next attempt
  int64_t last_revision_ = 0;
};

}  // namespace quoin::server
