// HashKV in steps on the file strand, so that commits run in between.
//
// Threads: run_hash_kv on any thread. Lifetime: executors, clock and histogram outlive the run, which ends
// with the call of `done`; it holds the view until then. Errors: kCompacted, kFutureRev (told at once, before
// anything is posted), kCorruption, kIo.
#pragma once
#include <absl/functional/any_invocable.h>

#include <memory>

#include "base/metrics.h"
#include "io/clock.h"
#include "io/executor.h"
#include "mvcc/hash_kv.h"

namespace quoin::server {

struct HashRunResult {
  mvcc::HashKvResult kv;
  int64_t revision = 0;  // the store's, when the run began
};

// `revision` 0: the newest. `done` on `reply`, or from within the call.
void run_hash_kv(std::shared_ptr<const mvcc::ReadView> view, int64_t revision, io::Executor& file,
                 io::Executor& reply, const io::Clock& clock, metrics::Histogram& seconds,
                 absl::AnyInvocable<void(Result<HashRunResult>)> done);

}  // namespace quoin::server
