#include "peer/budget.h"

#include "base/check.h"

namespace quoin::peer {

server::Charge Budget::charge(size_t bytes, size_t messages) {
  held_ += bytes;
  messages_ += messages;
  gauge_.add(static_cast<double>(bytes));
  // The pointer is never used; its deleter is the charge.
  return server::Charge(
      this, [budget = shared_from_this(), bytes, messages](void*) { budget->release(bytes, messages); });
}

void Budget::release(size_t bytes, size_t messages) {
  held_ -= bytes;
  messages_ -= messages;
  gauge_.add(-static_cast<double>(bytes));
  if (waiting_) wake();
}

void Budget::when_below(size_t bytes, Task room) {
  {
    std::lock_guard lock(mutex_);
    CHECK(!room_);
    mark_ = bytes;
    room_ = std::move(room);
    waiting_ = true;
  }
  // What was released before waiting_ was set woke nobody.
  wake();
}

void Budget::wake() {
  std::lock_guard lock(mutex_);
  if (!room_ || held_ > mark_ || loop_ == nullptr) return;
  waiting_ = false;
  // Under the lock, so that after stop() nobody touches the loop; a loop never runs a task within post().
  // What waits for room may end before the loop comes to the task, so the task asks for it then.
  loop_->post([budget = shared_from_this()] { budget->run_room(); });
}

void Budget::run_room() {
  Task room;
  {
    std::lock_guard lock(mutex_);
    room = std::exchange(room_, nullptr);
  }
  if (room) room();
}

void Budget::stop() {
  std::lock_guard lock(mutex_);
  loop_ = nullptr;
  waiting_ = false;
  room_ = nullptr;
}

}  // namespace quoin::peer
