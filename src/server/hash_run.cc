#include "server/hash_run.h"

#include <atomic>
#include <deque>
#include <optional>

namespace quoin::server {

namespace {
constexpr size_t kRecordsPerStep = 10'000;

struct Run {
  int64_t wanted;
  io::Executor& reply;
  absl::AnyInvocable<void(Result<HashRunResult>)> done;
  io::MonotonicNs start = 0;
  int64_t revision = 0;
  std::optional<mvcc::HashKvRun> run = std::nullopt;  // once it is its turn
};
}  // namespace

struct HashRuns::Queue : std::enable_shared_from_this<Queue> {
  Queue(View newest, io::Executor& on, const io::Clock& time, metrics::Histogram& histogram)
      : view(std::move(newest)), file(on), clock(time), seconds(histogram) {}

  void add(Run run) {
    runs.push_back(std::move(run));
    if (runs.size() == 1) step();
  }
  void step() {
    Run& run = runs.front();
    std::optional<Result<HashRunResult>> result;
    if (stopped.load()) {
      result = Error(Code::kServerStopped);
    } else if (Result<bool> finished = go_on(run); !finished) {
      result = finished.error();
    } else if (*finished) {
      result = HashRunResult{run.run->result(), run.revision};
    }
    if (result) {
      if (run.start != 0) seconds.observe(static_cast<double>(clock.monotonic() - run.start) / 1e9);
      run.reply.post(
          [done = std::move(run.done), result = std::move(*result)]() mutable { done(std::move(result)); });
      runs.pop_front();
    }
    if (!runs.empty()) file.post([self = shared_from_this()] { self->step(); });
  }
  // Whether the run is at its end.
  Result<bool> go_on(Run& run) {
    if (!run.run) {
      const auto newest = view();
      if (newest == nullptr) return Error(Code::kServerStopped);
      run.start = clock.monotonic();
      run.revision = newest->revision();
      ASSIGN_OR_RETURN(run.run, mvcc::HashKvRun::start(newest, run.wanted));
    }
    return run.run->step(kRecordsPerStep);
  }

  const View view;
  io::Executor& file;
  const io::Clock& clock;
  metrics::Histogram& seconds;
  std::deque<Run> runs;  // of the file strand
  std::atomic<bool> stopped = false;
};

HashRuns::HashRuns(View view, io::Executor& file, const io::Clock& clock, metrics::Histogram& seconds)
    : queue_(std::make_shared<Queue>(std::move(view), file, clock, seconds)) {}

void HashRuns::run(int64_t revision, io::Executor& reply,
                   absl::AnyInvocable<void(Result<HashRunResult>)> done) {
  const auto newest = queue_->view();
  if (newest == nullptr) return done(Error(Code::kServerStopped));
  if (const auto possible = mvcc::HashKvRun::start(newest, revision); !possible)
    return done(possible.error());
  queue_->file.post([queue = queue_, run = Run{revision, reply, std::move(done)}]() mutable {
    queue->add(std::move(run));
  });
}

void HashRuns::stop() {
  queue_->stopped.store(true);
}

}  // namespace quoin::server
