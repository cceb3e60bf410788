// On a terminal a line of progress that rewrites itself, on standard error; elsewhere nothing.
//
//   ProgressLine line;
//   line.show(fmt::format("{} received", size));   // often
//   line.clear();                                  // before other text goes to the terminal
//
// Threads: of one at a time.
#pragma once
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace quoin::ctl {

class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  bool visible() const { return visible_; }
  // Several times a second at most.
  void show(std::string_view text);
  void clear();

 private:
  const bool visible_;
  std::chrono::steady_clock::time_point shown_at_{};
  bool open_ = false;
};

// Shows how long something takes that does not tell how far it is, as long as it lives. From a thread of its own.
class TickingLine {
 public:
  explicit TickingLine(std::string text);
  ~TickingLine();

 private:
  std::mutex mutex_;
  std::condition_variable ending_;
  bool ended_ = false;  // guarded by mutex_
  std::thread thread_;  // none without a terminal
};

}  // namespace quoin::ctl
