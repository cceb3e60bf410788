#include "posix/timers.h"

#include <pthread.h>

#include <chrono>

#include "posix/executors.h"
#include "posix/log_sink.h"

namespace quoin::posix {

struct ThreadTimers::State {
  io::Executor* executor;
  Task task;
  std::pair<int64_t, uint64_t> key;
  std::atomic<bool> cancelled{false};
};

class ThreadTimers::Handle final : public io::Timer {
 public:
  Handle(ThreadTimers& owner, std::shared_ptr<State> state) : owner_(owner), state_(std::move(state)) {}
  ~Handle() override { cancel(); }
  void cancel() override {
    if (!state_ || state_->cancelled.exchange(true)) return;
    std::lock_guard lock(owner_.mutex_);
    owner_.due_.erase(state_->key);
  }

 private:
  ThreadTimers& owner_;
  std::shared_ptr<State> state_;
};

ThreadTimers::ThreadTimers(io::Clock& clock) : clock_(clock), thread_([this] { run(); }) {}
ThreadTimers::~ThreadTimers() {
  stop();
}

void ThreadTimers::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

std::unique_ptr<io::Timer> ThreadTimers::schedule(int64_t delay_ns, io::Executor& executor, Task task) {
  auto state = std::make_shared<State>();
  state->executor = &executor;
  state->task = std::move(task);
  bool first;
  {
    std::lock_guard lock(mutex_);
    state->key = {clock_.monotonic() + std::max<int64_t>(delay_ns, 0), ++sequence_};
    first = due_.empty() || state->key < due_.begin()->first;
    due_.emplace(state->key, state);
  }
  if (first) wake_.notify_one();
  return std::make_unique<Handle>(*this, std::move(state));
}

void ThreadTimers::run() {
  pthread_setname_np(pthread_self(), "timers");
  mark_timers_thread();
  LogSink::forbid_waiting();  // raft's ticks run here
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (due_.empty()) {
      wake_.wait(lock);
      continue;
    }
    const int64_t wait = due_.begin()->first.first - clock_.monotonic();
    if (wait > 0) {
      wake_.wait_for(lock, std::chrono::nanoseconds(wait));
      continue;
    }
    std::shared_ptr<State> state = std::move(due_.begin()->second);
    due_.erase(due_.begin());
    lock.unlock();
    io::Executor& executor = *state->executor;
    executor.post([state = std::move(state)] {
      if (!state->cancelled.exchange(true)) std::move(state->task)();
    });
    lock.lock();
  }
}

}  // namespace quoin::posix
