// Keeps the newest Credentials while their files change below it.
//
// Every period it reads the files, compares what stands in them with what it knows, and if something changed
// it makes new credentials and publishes them; connections that stand keep theirs. etcd reads the files at
// each handshake: here a handshake sees a change at most one period later, and costs no file access. While a
// pair is broken (a new certificate whose key is not there yet) it looks ten times as often.
//   - a broken pair, or files that are gone: handshakes fail with that error, and work again once the files
//     do;
//   - trusted certificates that cannot be read or parsed: the last good ones stay;
//   - a certificate that nears its end: a warning at 30, 7 and 1 days, one line each.
//
// Threads: current(), not_after() and seconds_left() on any thread. start() blocks on files: at start. The
// rest happens on Files::executor. Drop the keeper on that executor, or when it does not run any more.
// Errors of start(): those of Credentials::load().
// Log lines are ours; etcd has none here (spec operations 4.1).
#pragma once
#include <array>
#include <memory>
#include <mutex>
#include <optional>

#include "base/log.h"
#include "io/timer.h"
#include "tls/credentials.h"

namespace quoin::tls {

class Keeper {
 public:
  static constexpr int64_t kPeriod = io::kSecond;

  // All must outlive the keeper.
  struct Surroundings {
    io::FileSystem& files;
    io::Executor& executor;  // that `files` was made for; may block
    io::TimerService& timers;
    const io::Clock& clock;
    log::Logger& logger;
  };

  static Result<std::unique_ptr<Keeper>> start(const Options& options, Role role, Surroundings surroundings,
                                               int64_t period_ns = kPeriod);

  std::shared_ptr<const Credentials> current() const;
  // Of the certificate shown; nothing if there is none.
  std::optional<int64_t> not_after() const { return current()->not_after(); }
  // Until the certificate shown ends; below 0 afterwards. NaN if there is none. For a metric.
  double seconds_left() const;

 private:
  Keeper(const Options& options, Surroundings surroundings, int64_t period_ns,
         std::shared_ptr<const Credentials> credentials, FileContents contents);
  void schedule();
  void look();
  void report(const Credentials& now);
  void warn_of_end();

  const Options options_;
  const Surroundings around_;
  const int64_t period_ns_;
  FileContents contents_;
  // Warnings given for the certificate that ends at warned_for_.
  int64_t warned_for_ = 0;
  size_t warned_ = 0;
  mutable std::mutex mutex_;
  std::shared_ptr<const Credentials> current_;  // guarded by mutex_
  std::unique_ptr<io::Timer> timer_;
};

}  // namespace quoin::tls
