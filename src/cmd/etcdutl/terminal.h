// What the program writes beside its result: log lines as zap's console encoder prints them, and on a terminal a line of
// progress that rewrites itself. Both go to standard error.
//
//   2026-11-21T03:25:42Z <tab> info <tab> etcdutl/restore.cc:93 <tab> restoring snapshot <tab> {"path": "s.db", ...}
//
// Threads: one. SIGINT, SIGTERM and SIGHUP set a flag that job() hands to the engines, which clean up and return; a
// second one ends the process.
#pragma once
#include <string>
#include <string_view>

#include "base/log.h"
#include "cmd/etcdutl/job.h"

namespace quoin::utl {

class Terminal final : public log::Logger {
 public:
  Terminal();
  ~Terminal() override { clear_progress(); }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  bool enabled(log::Level level) const override { return level >= log::Level::kInfo; }
  void log(const log::Event& event) override;

  // Lives no longer than this.
  Job job();
  // One line, or several, to standard error.
  void say(std::string_view text);
  void clear_progress();

  // From now on signals set the flag that job() looks at.
  static void catch_signals();
  // The number of the signal that came; 0: none.
  static int signal_caught();

 private:
  void show_progress(std::string_view what, uint64_t done, uint64_t total);

  const bool is_terminal_;
  int64_t shown_at_ = 0;
  bool line_open_ = false;
};

}  // namespace quoin::utl
