#include "cmd/etcdctl/progress_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include "cmd/etcdctl/output.h"

namespace quoin::ctl {

ProgressLine::ProgressLine() : visible_(isatty(STDERR_FILENO) == 1) {}

void ProgressLine::show(std::string_view text) {
  constexpr auto kPause = std::chrono::milliseconds(200);
  const auto now = std::chrono::steady_clock::now();
  if (!visible_ || (open_ && now < shown_at_ + kPause)) return;
  shown_at_ = now;
  open_ = true;
  put_error(fmt::format("\r\x1b[K{}", text));
}

void ProgressLine::clear() {
  if (open_) put_error("\r\x1b[K");
  open_ = false;
}

TickingLine::TickingLine(std::string text) {
  if (isatty(STDERR_FILENO) != 1) return;
  thread_ = std::thread([this, what = std::move(text)] {
    ProgressLine line;
    std::unique_lock lock(mutex_);
    for (int seconds = 1; !ending_.wait_for(lock, std::chrono::seconds(1), [&] { return ended_; });
         ++seconds) {
      line.show(fmt::format("{} ... {} s", what, seconds));
    }
  });
}

TickingLine::~TickingLine() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  ending_.notify_all();
  if (thread_.joinable()) thread_.join();
}

}  // namespace quoin::ctl
