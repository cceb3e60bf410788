// The lines about the work of compactions.
//
// Threads: as of mvcc::CompactionObserver. Lifetime: logger and clock outlive it. Source: spec
// operations 6.3.
#pragma once
#include "base/log.h"
#include "io/clock.h"
#include "mvcc/store.h"

namespace quoin::server {

class CompactionLog final : public mvcc::CompactionObserver {
 public:
  CompactionLog(log::Logger& log, const io::Clock& clock) : log_(log), clock_(clock) {}
  void compaction_started(int64_t revision) override;
  void compaction_finished(const mvcc::CompactionEnd& end) override;

 private:
  log::Logger& log_;
  const io::Clock& clock_;
  io::MonotonicNs started_ = 0;  // of the one under way
};

}  // namespace quoin::server
