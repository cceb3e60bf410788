// HashKV in steps on the file strand, one run after the other: a commit waits for one step at most, however many ask.
//
// Threads: run() and stop() on any thread. Lifetime: executors, clock and histogram outlive what runs; `view` may be
// called, on the file strand, until stop() has been called and the strand has done what was posted before.
// Bounds: a run that waits holds no view. Errors: kCompacted, kFutureRev (told at once; of what was compacted while it
// waited later), kCorruption, kIo, kServerStopped.
#pragma once
#include <absl/functional/any_invocable.h>

#include <functional>
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

class HashRuns {
 public:
  // The newest view, from any thread.
  using View = std::function<std::shared_ptr<const mvcc::ReadView>()>;
  HashRuns(View view, io::Executor& file, const io::Clock& clock, metrics::Histogram& seconds);

  // `revision` 0: the newest. `done` on `reply`, or from within the call.
  void run(int64_t revision, io::Executor& reply, absl::AnyInvocable<void(Result<HashRunResult>)> done);
  // What waits or runs ends with kServerStopped after the step under way.
  void stop();

 private:
  struct Queue;
  const std::shared_ptr<Queue> queue_;
};

}  // namespace quoin::server
