#include "cmd/etcd/stop_guard.h"

#include <chrono>
#include <thread>

namespace quoin::cmd {

void StopGuard::begin(int64_t ns, std::function<void()> end) {
  {
    std::lock_guard lock(state_->mutex);
    if (std::exchange(state_->begun, true)) return;
  }
  std::thread([state = state_, ns, end = std::move(end)] {
    std::unique_lock lock(state->mutex);
    const auto cancelled = [&] { return state->cancelled; };
    if (state->changed.wait_for(lock, std::chrono::nanoseconds(ns), cancelled)) return;
    if (state->log != nullptr) {
      // On a thread of its own: the log may be what hangs.
      constexpr std::chrono::seconds kLogMax{1};
      std::thread([state, log = state->log, what = state->waits_for] {
        LOG(*log, kWarn, "the stop took too long; ending without the rest of it", {"waiting-for", what});
        if (state->flush) state->flush();
        std::lock_guard inner(state->mutex);
        state->told = true;
        state->changed.notify_all();
      }).detach();
      state->changed.wait_for(lock, kLogMax, [&] { return state->told; });
    }
    lock.unlock();
    end();
  }).detach();
}

void StopGuard::waits_for(const char* what) {
  std::lock_guard lock(state_->mutex);
  state_->waits_for = what;
}

void StopGuard::forget_log() {
  std::lock_guard lock(state_->mutex);
  state_->log = nullptr;
}

void StopGuard::cancel() {
  std::lock_guard lock(state_->mutex);
  state_->cancelled = true;
  state_->changed.notify_all();
}

}  // namespace quoin::cmd
