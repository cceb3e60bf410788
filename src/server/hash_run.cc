#include "server/hash_run.h"

namespace quoin::server {

namespace {

struct HashRun {
  static constexpr size_t kRecordsPerStep = 10'000;
  io::Executor& file;
  io::Executor& reply;
  mvcc::HashKvRun run;
  int64_t revision;
  absl::AnyInvocable<void(Result<HashRunResult>)> done;
  const io::Clock& clock;
  metrics::Histogram& seconds;
  io::MonotonicNs start;

  static void step(std::unique_ptr<HashRun> self) {
    auto finished = self->run.step(kRecordsPerStep);
    if (finished && !*finished) {
      io::Executor& file = self->file;
      return file.post([self = std::move(self)]() mutable { step(std::move(self)); });
    }
    self->seconds.observe(static_cast<double>(self->clock.monotonic() - self->start) / 1e9);
    Result<HashRunResult> result = HashRunResult{self->run.result(), self->revision};
    if (!finished) result = finished.error();
    self->reply.post(
        [done = std::move(self->done), result = std::move(result)]() mutable { done(std::move(result)); });
  }
};

}  // namespace

void run_hash_kv(std::shared_ptr<const mvcc::ReadView> view, int64_t revision, io::Executor& file,
                 io::Executor& reply, const io::Clock& clock, metrics::Histogram& seconds,
                 absl::AnyInvocable<void(Result<HashRunResult>)> done) {
  const int64_t current = view->revision();
  auto run = mvcc::HashKvRun::start(std::move(view), revision);
  if (!run) return done(run.error());
  std::unique_ptr<HashRun> self(
      new HashRun{file, reply, std::move(*run), current, std::move(done), clock, seconds, clock.monotonic()});
  file.post([self = std::move(self)]() mutable { HashRun::step(std::move(self)); });
}

}  // namespace quoin::server
