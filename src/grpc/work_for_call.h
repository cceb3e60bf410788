// What is still done for calls that are over, counted (Call::work()).
//
// Threads: the last reference may be dropped on any thread.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

namespace quoin::grpc {

// What is done for one call elsewhere; each holder has a reference (Call::work()). Once the call is cancelled,
// it counts among what its connection has left behind, until the last holder drops it, on any thread.
struct WorkForCall {
  explicit WorkForCall(std::shared_ptr<std::atomic<int64_t>> l) : left_behind(std::move(l)) {}
  ~WorkForCall() {
    if (cancelled) left_behind->fetch_sub(1, std::memory_order_relaxed);
  }
  WorkForCall(const WorkForCall&) = delete;
  WorkForCall& operator=(const WorkForCall&) = delete;
  const std::shared_ptr<std::atomic<int64_t>> left_behind;
  bool cancelled = false;  // set before the call drops its own reference
};

// The call was cancelled, and its handler is done with it: whoever still holds a reference works in vain.
inline void leave_behind(std::shared_ptr<WorkForCall>& work) {
  if (work && work.use_count() > 1) {
    work->left_behind->fetch_add(1, std::memory_order_relaxed);
    work->cancelled = true;
  }
  work.reset();
}

}  // namespace quoin::grpc
