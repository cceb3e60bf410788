#include "tls/handshake_limit.h"

namespace quoin::tls {

std::shared_ptr<void> HandshakeLimit::enter(io::Executor& executor, Start start) {
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(waiting_, [](const auto& w) { return w.expired(); });
    if (under_way_ >= max_ || !waiting_.empty()) {
      auto waiter = std::make_shared<Waiter>(&executor, std::move(start));
      waiting_.push_back(waiter);
      return waiter;
    }
    ++under_way_;
  }
  start(Place(this));
  return nullptr;
}

void HandshakeLimit::leave() {
  std::shared_ptr<Waiter> next;
  {
    const std::lock_guard lock(mutex_);
    while (next == nullptr && !waiting_.empty()) {
      next = waiting_.front().lock();
      waiting_.pop_front();
    }
    if (next == nullptr) {
      --under_way_;
      return;
    }
  }
  // The place goes on to the waiter; if it is gone by the time the task runs, to the one after it.
  io::Executor& executor = *next->executor;
  executor.post([place = Place(this), waiter = std::weak_ptr(next)]() mutable {
    if (const auto w = waiter.lock()) w->start(std::move(place));
  });
}

size_t HandshakeLimit::under_way() const {
  const std::lock_guard lock(mutex_);
  return under_way_;
}

size_t HandshakeLimit::waiting() const {
  const std::lock_guard lock(mutex_);
  size_t n = 0;
  for (const auto& w : waiting_) n += w.expired() ? 0 : 1;
  return n;
}

}  // namespace quoin::tls
