// Defragment: copies the live file into a new one while commits go on (file_side.h tells how), then lets the
// copy take its place: rename, sync of the directory, swap. Commits wait from the rename on, so the old file
// and the copy hold the same state whichever of the two names a crash leaves; nothing is acknowledged from
// the copy before its name is durable.
#include <fmt/format.h>

#include <utility>

#include "backend/file_jobs.h"
#include "backend/file_side.h"
#include "base/check.h"
#include "failpoint/failpoint.h"

namespace quoin::backend {
namespace {
constexpr uint64_t kStepPairs = 4'000;
constexpr uint64_t kStepBytes = 2u << 20;

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}
}  // namespace

void FileSide::defragment(std::function<void(Result<>)> done) {
  if (dead_ || close_done_) {
    env_.to_apply([done = std::move(done), error = dead_.value_or(Error(Code::kStopped))] { done(error); });
    return;
  }
  if (defrag_) {
    env_.to_apply([done = std::move(done)] {
      done(make_error(Code::kLimit, "a defragmentation is under way already"));
    });
    return;
  }
  defrag_ = std::make_unique<Defrag>();
  defrag_->done = std::move(done);
  defrag_->started = env_.clock->monotonic();
  defrag_->size_before = size();
  defrag_->in_use_before = size_in_use();
  env_.probe->defrag_inflight.set(1);
  LOG(*env_.log, kInfo, "defragmenting", {"path", env_.options.path}, {"current-db-size-bytes", size()},
      {"current-db-size", log::Size{size()}}, {"current-db-size-in-use-bytes", size_in_use()},
      {"current-db-size-in-use", log::Size{size_in_use()}});
  run();
}

void FileSide::defrag_step() {
  Defrag& d = *defrag_;
  if (!d.copy) {
    // The wall clock's digits make the name; leftovers of a crash are removed when the backend opens.
    d.path = fmt::format("{}.tmp.{}", env_.options.path, static_cast<uint64_t>(env_.clock->wall()));
    FAILPOINT_TEXT(defragOpenFileError, text, return defrag_step_failed(Error(Code::kIo, text)));
    auto copy = factory_->open(d.path, /*filling=*/true);
    if (!copy) return defrag_step_failed(copy.error());
    d.copy = std::move(*copy);
    // Commits go on while it is copied; until the rename the copy counts for nothing.
    FAILPOINT(defragBeforeCopy);
    FAILPOINT_TEXT(defragdbFail, text, return defrag_step_failed(Error(Code::kIo, text)));
  }
  if (d.bucket == kBucketCount) return defrag_swap();
  d.source = newest_;
  d.batch = {};
  d.bucket_after = d.bucket;
  d.last_after = d.last;
  uint64_t pairs = 0;
  uint64_t bytes = 0;
  while (d.bucket_after < kBucketCount && pairs < kStepPairs && bytes < kStepBytes) {
    auto& changes = d.batch.changes[d.bucket_after];
    const std::string from = d.last_after.empty() ? std::string() : d.last_after + '\0';
    bool more = false;
    auto r = d.source->scan(static_cast<Bucket>(d.bucket_after), from, {},
                            [&](std::string_view key, std::string_view value) {
                              changes.push_back({key, value, false});
                              bytes += key.size() + value.size();
                              more = ++pairs >= kStepPairs || bytes >= kStepBytes;
                              return !more;
                            });
    if (!r) return defrag_step_failed(r.error());
    if (more) {
      d.last_after = changes.back().key;
    } else {
      ++d.bucket_after;
      d.last_after.clear();
    }
  }
  const auto landed = [weak = weak_from_this()](Result<CommitTimes> result) {
    auto self = weak.lock();
    if (!self) return;
    self->busy_ = false;
    if (!result) {
      return self->defrag_step_failed(result.error());
    }
    Defrag& job = *self->defrag_;
    job.bucket = job.bucket_after;
    job.last = std::move(job.last_after);
    job.source.reset();
    self->run();
  };
  busy_ = true;
  if (d.batch.empty()) {
    env_.file->post([landed] { landed(CommitTimes{}); });
  } else {
    d.copy->commit(d.batch, landed);
  }
}

// A segment may have waited for the step's turn to end.
void FileSide::defrag_step_failed(const Error& error) {
  abandon_defrag(error);
  run();
}

// Repeats the live file's commit on what is copied already.
void FileSide::defrag_mirror() {
  Defrag& d = *defrag_;
  if (d.bucket == kBucketCount) {
    d.batch = batch_->build();
  } else {
    d.batch = batch_->up_to(static_cast<Bucket>(d.bucket), d.last);
  }
  if (d.batch.empty()) return after_commit();
  d.copy->commit(d.batch, [weak = weak_from_this()](Result<CommitTimes> result) {
    auto self = weak.lock();
    if (!self) return;
    if (!result) self->abandon_defrag(result.error());
    self->after_commit();
  });
}

void FileSide::defrag_swap() {
  busy_ = true;
  // As in etcd both files are whole and the old one has the name; here the old one is still open.
  FAILPOINT(defragBeforeRename);
  env_.fs->async_rename(defrag_->path, env_.options.path, [weak = weak_from_this()](Result<> renamed) {
    auto self = weak.lock();
    if (!self) return;
    if (renamed) return self->defrag_sync_name();
    self->busy_ = false;
    self->defrag_step_failed(renamed.error());
  });
}

void FileSide::defrag_sync_name() {
  env_.fs->async_sync_dir(directory_of(env_.options.path), [weak = weak_from_this()](Result<> synced) {
    auto self = weak.lock();
    if (!self) return;
    // Which file the name stands for after a crash is now anybody's guess.
    if (!synced) return self->fail(synced.error());
    self->engine_ = std::move(self->defrag_->copy);
    self->engine_->end_filling();
    self->warn_of_small_reservation();
    self->refresh();
    self->env_.committed({self->newest_, false});
    self->end_defrag({});
    self->busy_ = false;
    self->run();
  });
}

void FileSide::end_defrag(Result<> result) {
  std::unique_ptr<Defrag> d = std::move(defrag_);
  const int64_t took = env_.clock->monotonic() - d->started;
  env_.probe->defrag_seconds.observe(static_cast<double>(took) / 1e9);
  env_.probe->defrag_inflight.set(0);
  if (result) {
    const auto diff = [](uint64_t now, uint64_t before) {
      return static_cast<int64_t>(now) - static_cast<int64_t>(before);
    };
    LOG(*env_.log, kInfo, "finished defragmenting directory", {"path", env_.options.path},
        {"current-db-size-bytes-diff", diff(size(), d->size_before)}, {"current-db-size-bytes", size()},
        {"current-db-size", log::Size{size()}},
        {"current-db-size-in-use-bytes-diff", diff(size_in_use(), d->in_use_before)},
        {"current-db-size-in-use-bytes", size_in_use()}, {"current-db-size-in-use", log::Size{size_in_use()}},
        {"took", log::Duration{took}});
  }
  env_.to_apply([done = std::move(d->done), result = std::move(result)] { done(result); });
}

// The live file stays; the copy goes.
void FileSide::abandon_defrag(const Error& error) {
  defrag_->source.reset();
  // Not from within its own completion.
  if (defrag_->copy) env_.file->post([copy = std::move(defrag_->copy)] {});
  // Also where opening it failed: it may have been made.
  if (!defrag_->path.empty()) env_.fs->async_remove(defrag_->path, [](Result<>) {});
  end_defrag(error);
}

}  // namespace quoin::backend
