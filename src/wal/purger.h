// Removes old segments that nobody needs any more.
//
// One by one, oldest first, the directory synced after each, so that a crash leaves no gap in the sequence.
// It stops at the first segment that somebody has locked. Purging is housekeeping: a segment that can't be
// opened or locked now (another process reads it, the process is out of descriptors) is told and left for the
// next call.
//
// Threads: confined to the executor of the file system. Callbacks run as its tasks. Lifetime: `fs`,
// `executor` and `log` outlive it; dropping it drops what is outstanding.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "io/executor.h"
#include "io/file.h"

namespace quoin::wal {

class Purger {
 public:
  // `released`: names of segments that are not locked by this log, oldest first.
  Purger(io::FileSystem& fs, io::Executor& executor, log::Logger& log, std::string dir,
         std::vector<std::string> released);

  // A segment newer than all given before.
  void add(std::string name) { released_.push_back(std::move(name)); }
  // Purges while the released segments and `locked` others are more than `segments_max` (0: keeps all).
  // `first_locked` is named if it stands in the way. A call while one runs completes with it.
  void purge(size_t segments_max, size_t locked, std::string first_locked, io::Completion done);

 private:
  void next();
  void opened(Result<std::unique_ptr<io::File>> file);
  void end(Result<> result);
  std::string path(const std::string& name) const { return dir_ + "/" + name; }
  void not_locked(const std::string& name, std::string_view why);

  io::FileSystem& fs_;
  io::Executor& executor_;
  log::Logger& log_;
  const std::string dir_;
  std::vector<std::string> released_;
  size_t max_ = 0, locked_ = 0;
  std::string first_locked_;
  std::vector<io::Completion> done_;
  std::unique_ptr<io::File> file_;  // being removed, locked
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace quoin::wal
