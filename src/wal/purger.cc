#include "wal/purger.h"

#include <utility>

namespace quoin::wal {

Purger::Purger(io::FileSystem& fs, io::Executor& executor, log::Logger& log, std::string dir,
               std::vector<std::string> released)
    : fs_(fs), executor_(executor), log_(log), dir_(std::move(dir)), released_(std::move(released)) {}

void Purger::purge(size_t segments_max, size_t locked, std::string first_locked, io::Completion done) {
  done_.push_back(std::move(done));
  if (done_.size() > 1) return;
  max_ = segments_max;
  locked_ = locked;
  first_locked_ = std::move(first_locked);
  next();
}

void Purger::not_locked(const std::string& name, std::string_view why) {
  LOG(log_, kWarn, "failed to lock file", {"path", path(name)}, {"error", why});
}

void Purger::next() {
  if (max_ == 0 || released_.size() + locked_ <= max_) return end({});
  if (released_.empty()) {
    not_locked(first_locked_, "fileutil: file already locked");
    return end({});
  }
  fs_.async_open(path(released_.front()), {.write = true},
                 [this, alive = std::weak_ptr<int>(alive_)](Result<std::unique_ptr<io::File>> file) {
                   if (!alive.expired()) opened(std::move(file));
                 });
}

void Purger::opened(Result<std::unique_ptr<io::File>> file) {
  if (!file && file.error().code() == Code::kFileNotFound) {  // removed by someone else
    released_.erase(released_.begin());
    return next();
  }
  if (!file) {
    not_locked(released_.front(), file.error().text());
    return end({});
  }
  if (const auto locked = (*file)->lock_ofd(); !locked) {
    not_locked(released_.front(), "fileutil: file already locked");
    return end({});
  }
  file_ = std::move(*file);
  const std::string name = path(released_.front());
  fs_.async_remove(name, [this, name, alive = std::weak_ptr<int>(alive_)](Result<> r) {
    if (alive.expired()) return;
    file_.reset();
    if (!r) return end(std::move(r));
    released_.erase(released_.begin());
    LOG(log_, kInfo, "purged", {"path", name});
    fs_.async_sync_dir(dir_, [this, alive](Result<> r) {
      if (alive.expired()) return;
      if (!r) return end(std::move(r));
      next();
    });
  });
}

void Purger::end(Result<> result) {
  executor_.post([this, result = std::move(result), alive = std::weak_ptr<int>(alive_)] {
    if (alive.expired()) return;
    for (io::Completion& done : std::exchange(done_, {})) {
      if (done) done(result);
    }
  });
}

}  // namespace quoin::wal
