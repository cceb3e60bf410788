// Timers and polled descriptors of a loop, as objects that end with their owner. libuv keeps a handle's memory until
// the loop has closed it, so the handle outlives its object by one round.
//
// What they call counts as a task of the loop.
//
// Threads: the loop's. A stopped loop has closed its handles itself; what is dropped afterwards stays allocated.
#pragma once
#include <absl/functional/any_invocable.h>
#include <uv.h>

#include <memory>
#include <utility>

#include "base/task.h"
#include "posix/loop.h"

namespace quoin::posix {

// Of a loop: measures what it is given.
template <class F>
void run_metered(uv_loop_t* loop, F&& f) {
  TaskMeter& meter = static_cast<UvLoop*>(loop->data)->own_meter();
  const io::MonotonicNs begin = TaskMeter::now();
  f();
  meter.took(begin, TaskMeter::now());
}

template <class T>
class UvHandle {
 public:
  UvHandle() : handle_(new T) {}
  ~UvHandle() {
    auto* h = reinterpret_cast<uv_handle_t*>(handle_);
    handle_->data = nullptr;
    if (!uv_is_closing(h)) uv_close(h, [](uv_handle_t* closed) { delete reinterpret_cast<T*>(closed); });
  }
  UvHandle(const UvHandle&) = delete;
  UvHandle& operator=(const UvHandle&) = delete;
  T* get() { return handle_; }

 private:
  T* const handle_;
};

// Fires once. `task` may drop the timer.
class UvTimer {
 public:
  UvTimer(uv_loop_t* loop, uint64_t ms, Task task) : task_(std::move(task)) {
    uv_timer_init(loop, handle_.get());
    handle_.get()->data = this;
    uv_update_time(loop);  // what the loop takes for now may be old
    uv_timer_start(
        handle_.get(),
        [](uv_timer_t* t) {
          if (t->data == nullptr) return;
          Task task = std::move(static_cast<UvTimer*>(t->data)->task_);
          run_metered(t->loop, task);
        },
        ms, 0);
  }

 private:
  UvHandle<uv_timer_t> handle_;
  Task task_;
};

// Tells when a descriptor can be read or written. The owner closes the descriptor, behind this object. `ready` may drop
// it.
class UvPoll {
 public:
  using Ready = absl::AnyInvocable<void(bool readable, bool writable)>;
  UvPoll(uv_loop_t* loop, int fd, Ready ready) : ready_(std::move(ready)) {
    uv_poll_init(loop, handle_.get(), fd);
    handle_.get()->data = this;
  }
  void want(bool readable, bool writable) {
    const int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
    if (uv_is_closing(reinterpret_cast<uv_handle_t*>(handle_.get()))) return;
    uv_poll_start(handle_.get(), events, [](uv_poll_t* p, int status, int events) {
      if (p->data == nullptr) return;
      auto* self = static_cast<UvPoll*>(p->data);
      // Called through a copy: it may drop the object that holds it.
      const auto ready = std::make_shared<Ready>(std::move(self->ready_));
      run_metered(p->loop, [&] {
        (*ready)(status < 0 || (events & UV_READABLE), status < 0 || (events & UV_WRITABLE));
      });
      if (p->data != nullptr) self->ready_ = std::move(*ready);
    });
  }

 private:
  UvHandle<uv_poll_t> handle_;
  Ready ready_;
};

}  // namespace quoin::posix
