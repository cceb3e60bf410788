#include "cmd/etcdctl/check_bar.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>

#include "cmd/etcdctl/output.h"

namespace quoin::ctl {
namespace {

size_t terminal_columns() {
  constexpr size_t kStandard = 100;
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : kStandard;
}

}  // namespace

std::string bar_text(int64_t value, int64_t total, double speed, size_t columns, bool finished) {
  const std::string before = fmt::format("{} / {} [", value, total);
  const double part = total > 0 ? static_cast<double>(value) / static_cast<double>(total) : 0;
  const std::string after =
      fmt::format("] {:.2f}% {} p/s", part * 100, speed == 0 ? "?" : fmt::format("{:.0f}", speed));
  const size_t used = before.size() + after.size();
  const size_t cells = columns > used ? columns - used : 0;
  const size_t filled = std::min(cells, static_cast<size_t>(std::ceil(part * static_cast<double>(cells))));
  std::string bar(filled, '-');
  if (filled > 0 && !(finished && value == total)) bar.back() = '>';
  bar.resize(cells, '_');
  return before + bar + after;
}

CheckBar::CheckBar(int64_t total) : total_(total), is_terminal_(isatty(STDERR_FILENO) == 1) {
  show(false);
  thread_ = std::thread([this] {
    constexpr auto kPause = std::chrono::milliseconds(200);
    std::unique_lock lock(mutex_);
    while (!ending_.wait_for(lock, kPause, [&] { return ended_; })) show(false);
  });
}

// A moving average, measured twice a second; at the end that of the whole time.
double CheckBar::speed_at(Time now, int64_t value, bool finished) {
  using Seconds = std::chrono::duration<double>;
  constexpr double kMeasure = 0.5, kDecay = 2.0 / 31;
  if (finished) return static_cast<double>(value) / std::max(Seconds(now - began_).count(), 1e-9);
  const double passed = Seconds(now - measured_at_).count();
  if (passed < kMeasure) return speed_;
  const double last = static_cast<double>(value - measured_value_) / passed;
  measured_at_ = now;
  measured_value_ = value;
  speed_ = speed_ == 0 ? last : last * kDecay + speed_ * (1 - kDecay);
  return speed_;
}

void CheckBar::show(bool finished) {
  const int64_t value = value_;
  const double speed = speed_at(std::chrono::steady_clock::now(), value, finished);
  const std::string text = bar_text(value, total_, speed, terminal_columns(), finished);
  put_error(is_terminal_ ? "\r" + text + (finished ? "\n" : "") : text);
}

void CheckBar::finish() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  ending_.notify_all();
  thread_.join();
  show(true);
}

}  // namespace quoin::ctl
