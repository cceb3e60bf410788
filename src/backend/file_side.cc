#include "backend/file_side.h"

#include <utility>

#include "backend/file_jobs.h"
#include "base/check.h"
#include "failpoint/failpoint.h"

namespace quoin::backend {
namespace {
double seconds(int64_t ns) {
  return static_cast<double>(ns) / 1e9;
}
}  // namespace

FileSide::FileSide(Env env, std::unique_ptr<EngineFactory> factory, std::unique_ptr<Engine> engine)
    : env_(std::move(env)), factory_(std::move(factory)), engine_(std::move(engine)), opener_(env_.probe) {
  warn_of_small_reservation();
  refresh();
}

FileSide::~FileSide() = default;

void FileSide::warn_of_small_reservation() {
  if (engine_->size_max() >= env_.options.map_bytes) return;
  LOG(*env_.log, kWarn,
      "the system has little address space for the database file (ulimit -v?); the member stops when the "
      "file "
      "outgrows what was reserved",
      {"path", env_.options.path}, {"reserved-bytes", engine_->size_max()},
      {"wanted-bytes", env_.options.map_bytes});
}

// After each change of the file: the newest snapshot and the sizes.
void FileSide::refresh() {
  newest_ = opener_.open(*engine_);
  size_.store(engine_->size(), std::memory_order_relaxed);
  in_use_.store(engine_->size_in_use(), std::memory_order_relaxed);
  env_.probe->total_size_bytes.set(static_cast<double>(size()));
  env_.probe->in_use_bytes.set(static_cast<double>(size_in_use()));
}

void FileSide::submit(FrozenSegment segment) {
  if (dead_) return;
  CHECK(!pending_);
  pending_ = std::move(segment);
  run();
}

void FileSide::run() {
  if (busy_ || dead_) return;
  const bool between = !hashes_.empty() || defrag_;
  if (between && maintenance_turn_ && !close_done_) return run_between();
  if (pending_ || (compaction_ && compaction_->due && !close_done_)) return start_commit();
  if (close_done_) return finish_close();
  if (between) run_between();
}

// One step of what is not part of a commit. A commit and such a step take turns while both are due, so that
// neither starves.
void FileSide::run_between() {
  maintenance_turn_ = false;
  if (hashes_.empty()) return defrag_step();
  hash_step();
  run_later();
}

// Maintenance that does not wait for the disk gives way to segments that arrived meanwhile.
void FileSide::run_later() {
  busy_ = true;
  env_.file->post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->busy_ = false;
    self->run();
  });
}

void FileSide::start_commit() {
  batch_ = std::make_unique<BatchBuilder>();
  commit_started_ = env_.clock->monotonic();
  if (compaction_ && compaction_->due && !close_done_) {
    if (auto r = compaction_step(*batch_); !r) return fail(r.error());
  }
  maintenance_turn_ = true;
  batch_has_segment_ = pending_.has_value();
  // Index, term and ConfState come with the segment that was frozen with them.
  FAILPOINT(commitBeforePreCommitHook);
  if (pending_) batch_->add(*pending_);
  FAILPOINT(commitAfterPreCommitHook);
  const Batch& batch = batch_->build();
  if (batch.empty()) {
    CHECK(!batch_has_segment_);  // so it is a compaction step that found nothing to delete
    after_compaction_step();
    return run_later();
  }
  busy_ = true;
  FAILPOINT(beforeCommit);
  engine_->commit(batch, [weak = weak_from_this()](Result<CommitTimes> result) {
    if (auto self = weak.lock()) self->on_commit(std::move(result));
  });
}

void FileSide::on_commit(Result<CommitTimes> result) {
  if (!result) return fail(result.error());
  FAILPOINT(afterCommit);
  env_.probe->commit_seconds.observe(seconds(env_.clock->monotonic() - commit_started_));
  env_.probe->rebalance_seconds.observe(seconds(result->rebalance_ns));
  env_.probe->spill_seconds.observe(seconds(result->spill_ns));
  env_.probe->write_seconds.observe(seconds(result->write_ns));
  refresh();
  if (batch_has_segment_) pending_.reset();
  env_.committed({newest_, batch_has_segment_});
  if (compaction_ && compaction_->in_commit) after_compaction_step();
  if (defrag_ && defrag_->copy) return defrag_mirror();
  after_commit();
}

void FileSide::after_commit() {
  batch_.reset();
  busy_ = false;
  run();
}

void FileSide::fail(const Error& error) {
  dead_ = error;
  busy_ = false;
  pending_.reset();
  drop_jobs(error);
  if (auto done = std::exchange(close_done_, nullptr)) {
    env_.to_apply([done = std::move(done), error] { done(error); });
  }
  env_.failed(error);
}

// Compactions end without a word (their caller is told by the failure or asked for the stop), the others get
// `error`.
void FileSide::drop_jobs(const Error& error) {
  compaction_.reset();
  for (auto& job : hashes_) env_.to_apply([done = std::move(job->done), error] { done(error); });
  hashes_.clear();
  if (defrag_) abandon_defrag(error);
}

void FileSide::close(std::function<void(Result<>)> done) {
  if (dead_) {
    env_.to_apply([done = std::move(done), error = *dead_] { done(error); });
    return;
  }
  close_done_ = std::move(done);
  run();
}

void FileSide::finish_close() {
  busy_ = true;
  drop_jobs(Error(Code::kStopped));
  newest_.reset();
  // Behind all that was posted to apply with a snapshot in it.
  env_.to_apply([self = shared_from_this()] {
    self->env_.release();
    self->env_.file->post([self] { self->close_engine(); });
  });
}

void FileSide::close_engine() {
  if (open_snapshots() != 0) {
    // Nothing is lost; the next start has to find the free pages by itself. At the installation of a snapshot it is
    // so each time, and the file is replaced anyway: the readers' view is of the old one until the new one is read in.
    LOG(*env_.log, kInfo, "closing backend with open read transactions", {"count", open_snapshots()});
    return drop_engine({});
  }
  engine_->close([weak = weak_from_this()](Result<> result) {
    if (auto self = weak.lock()) self->drop_engine(std::move(result));
  });
}

// As a task of its own, not within the engine's completion.
void FileSide::drop_engine(Result<> result) {
  env_.file->post([self = shared_from_this(), result = std::move(result)] {
    self->engine_.reset();
    self->dead_ = Error(Code::kStopped);
    self->env_.to_apply([done = std::move(self->close_done_), result] { done(result); });
  });
}

}  // namespace quoin::backend
