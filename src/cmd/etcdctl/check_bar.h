// The bar that `check` shows on standard error: 58 / 60 [------>_] 96.67% 1 p/s, a hundred columns wide.
//
// On a terminal it rewrites its line; elsewhere each state stands behind the one before, without a line feed, as etcd's.
// Threads: add() from any; the others from one. It prints from a thread of its own.
// Source: cheggaaa/pb 3.1 (the default template, speed.go, element.go).
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace quoin::ctl {

// The text of one state. `speed` in elements a second; 0: not known.
std::string bar_text(int64_t value, int64_t total, double speed, size_t columns, bool finished);

class CheckBar {
 public:
  explicit CheckBar(int64_t total);
  ~CheckBar() { finish(); }
  CheckBar(const CheckBar&) = delete;
  CheckBar& operator=(const CheckBar&) = delete;

  void add(int64_t count) { value_ += count; }
  // Shows the last state.
  void finish();

 private:
  using Time = std::chrono::steady_clock::time_point;
  void show(bool finished);
  double speed_at(Time now, int64_t value, bool finished);

  const int64_t total_;
  const bool is_terminal_;
  std::atomic<int64_t> value_{0};
  const Time began_ = std::chrono::steady_clock::now();
  Time measured_at_ = began_;
  int64_t measured_value_ = 0;
  double speed_ = 0;
  std::mutex mutex_;
  std::condition_variable ending_;
  bool ended_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace quoin::ctl
