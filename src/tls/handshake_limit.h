// How many handshakes are under way at a time, over all loops that share the limit. What comes beyond waits,
// in order, before anything is read or computed for it.
//
// Threads: any thread. A waiter starts as a task of its own executor.
// Bounds: the number of waiters is the number of connections, which the listener bounds.
#pragma once
#include <absl/functional/any_invocable.h>

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>

#include "io/executor.h"

namespace quoin::tls {

class HandshakeLimit {
 public:
  // One of the places. Dropping it lets the next waiter in. The limit must outlive it.
  class Place {
   public:
    Place() = default;
    explicit Place(HandshakeLimit* limit) : limit_(limit) {}
    Place(Place&& o) noexcept : limit_(std::exchange(o.limit_, nullptr)) {}
    Place& operator=(Place&& o) noexcept {
      Place old(std::move(*this));
      limit_ = std::exchange(o.limit_, nullptr);
      return *this;
    }
    ~Place() {
      if (limit_ != nullptr) limit_->leave();
    }

   private:
    HandshakeLimit* limit_ = nullptr;
  };
  using Start = absl::AnyInvocable<void(Place)>;

  explicit HandshakeLimit(size_t max) : max_(max) {}

  // Runs `start` with a place: within the call if one is free and nobody waits, else later as a task of
  // `executor`. Dropping the waiter (may be null) on that executor ends the wait: `start` does not run
  // afterwards.
  [[nodiscard]] std::shared_ptr<void> enter(io::Executor& executor, Start start);

  size_t under_way() const;
  size_t waiting() const;

 private:
  struct Waiter {
    io::Executor* executor;
    Start start;
  };
  void leave();

  const size_t max_;
  mutable std::mutex mutex_;
  size_t under_way_ = 0;
  std::list<std::weak_ptr<Waiter>> waiting_;  // first come first
};

}  // namespace quoin::tls
