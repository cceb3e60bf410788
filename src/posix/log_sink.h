// Where log events become lines: a bounded ring with a thread of its own that renders them as zap does and
// writes them (spec operations 6.1, 6.2; design section 4).
//
// Threads: log() may be called on any thread; it copies the event into the ring under a short mutex and never
// waits for a disk or terminal. When the ring is full, debug and info are dropped and counted; warn and above
// may use a reserve behind that; when that is full too, the caller waits for room, unless its thread was
// marked by forbid_waiting() (loops and strands), in which case the event is dropped and counted. The writer
// reports drops in a line of its own as soon as there is room. A fatal or panic event is written after
// everything before it, all outputs are flushed, and then `stop` is called on the thread that logged it (the
// process ends: 1 for fatal, 2 for panic). Lifetime: the destructor writes what is queued. Child loggers live
// as long as the sink.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "posix/journal.h"
#include "posix/log_rotate.h"

namespace quoin::posix {

enum class LogFormat : uint8_t { kJson, kConsole };

struct LogSinkOptions {
  log::Level level = log::Level::kInfo;
  LogFormat format = LogFormat::kJson;
  // stderr, stdout, default (= stderr), or paths. /dev/null among them discards everything. Empty: stderr.
  // systemd/journal, alone: each line to journald, none left out by sampling, to standard error if journald
  // does not take it.
  std::vector<std::string> outputs;
  std::string journal_socket = Journal::kDefaultSocket;
  // Rotates the one path among the outputs.
  std::optional<LogRotateOptions> rotation;
  // Bound of the ring; a reserve of a quarter of it is kept for warnings and above.
  size_t queue_bytes_max = size_t{4} << 20;
  // First 100 lines of the same level and text in a second, then each 100th.
  bool sampling = true;
  // Tests: wall clock in nanoseconds, and what a fatal event does instead of ending the process.
  std::function<int64_t()> wall_ns;
  std::function<void(log::Level, std::string_view message)> stop;
};

class LogSink final : public log::Logger {
 public:
  // Opens the outputs. Errors: kIo with zap's text (open <path>: ...; can't find journal (...));
  // kInvalidArgument for impossible combinations.
  static Result<std::unique_ptr<LogSink>> open(LogSinkOptions options);
  ~LogSink() override;

  bool enabled(log::Level level) const override;
  void log(const log::Event& event) override;

  // A logger that adds "logger":"<name>" to its lines ("raft", "bbolt").
  log::Logger& named(std::string_view name) override;

  // Waits until all that was logged before the call is written; ten seconds at the most.
  void flush();
  uint64_t dropped() const;
  // Marks the calling thread: it never waits for room in a ring.
  static void forbid_waiting(bool forbid = true);

 private:
  struct Impl;
  explicit LogSink(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quoin::posix
