#include "scenarios/watch_stream.h"

#include "base/check.h"

namespace quoin::scenarios {

WatchStream::WatchStream(sim::World& world, Life& life, const StreamPace& pace, uint64_t seed,
                         StreamCounts& counts, OnMessage on_message, OnError on_error)
    : world_(world),
      life_(life),
      loop_(life.loop()),
      pace_(pace),
      prng_(seed),
      counts_(counts),
      on_message_(std::move(on_message)),
      on_error_(std::move(on_error)) {}

// ---- requests ----

template <class Work>
void WatchStream::on_apply(Work work) {
  life_.member().on_apply(
      [self = shared_from_this(), work = std::move(work)](mvcc::WatchTable& t) mutable { work(t, *self); });
}

void WatchStream::open() {
  on_apply([](mvcc::WatchTable& t, WatchStream& s) { s.id_ = t.open_stream(s); });
}

void WatchStream::create(const mvcc::WatchRequest& request) {
  on_apply([request](mvcc::WatchTable& t, WatchStream& s) { t.create(s.id_, request); });
}

void WatchStream::cancel(int64_t watch_id) {
  on_apply([watch_id](mvcc::WatchTable& t, WatchStream& s) { t.cancel(s.id_, watch_id); });
}

void WatchStream::request_progress() {
  on_apply([](mvcc::WatchTable& t, WatchStream& s) { t.request_progress(s.id_); });
}

void WatchStream::progress_tick() {
  on_apply([](mvcc::WatchTable& t, WatchStream& s) { t.progress_tick(s.id_); });
}

void WatchStream::close(bool tell_apply) {
  if (closed_) return;
  closed_ = true;
  queue_.clear();
  catch_up_.reset();
  if (tell_apply) on_apply([](mvcc::WatchTable& t, WatchStream& s) { t.close_stream(s.id_); });
}

void WatchStream::hurry(bool on) {
  hurried_ = on;
  if (!on || closed_) return;
  ++pauses_;
  writable_ = true;
  pump();
}

// ---- apply ----

bool WatchStream::deliver(const mvcc::WatchMessage& message) {
  const bool continues = std::exchange(fragment_open_, message.fragment);
  if (!continues && !has_room(message)) {
    fragment_open_ = false;
    ++counts_.refused;
    return false;
  }
  push({message, nullptr});
  return true;
}

// An empty queue takes what is larger than the bound, and a queue that is less than half full takes whatever
// comes: it would announce no room later.
bool WatchStream::has_room(const mvcc::WatchMessage& message) {
  if (held_ <= pace_.bytes_max / 2 || held_ + cost(message) <= pace_.bytes_max) return true;
  refused_ = true;
  return false;
}

void WatchStream::push(Item item) {
  if (!item.work) held_ += cost(item.message);
  const bool first = items_.empty();
  items_.push_back(std::move(item));
  if (first) loop_.post([self = shared_from_this()] { self->receive(); });
}

// ---- loop ----

void WatchStream::receive() {
  std::vector<Item> items;
  items.swap(items_);
  if (closed_) return;
  for (Item& item : items) {
    if (item.work) {
      CHECK(catch_up_ == nullptr, "two catch-ups on one watch stream");
      ++counts_.catch_ups;
      catch_up_ = std::move(item.work);
    } else {
      // A catch-up that comes behind the cancel may be of a new watcher that has got the same id.
      const mvcc::WatchMessage& m = item.message;
      if (m.canceled && !m.created && catch_up_) catch_up_->forget(m.watch_id);
      queue_.push_back(std::move(item.message));
    }
  }
  pump();
}

void WatchStream::pump() {
  size_t written = 0;
  while (!closed_ && !queue_.empty() && writable_) {
    const mvcc::WatchMessage m = std::move(queue_.front());
    queue_.pop_front();
    written += cost(m);
    write(m);
  }
  held_ -= written;
  if (written > 0 && held_ <= pace_.bytes_max / 2 && std::exchange(refused_, false) && !closed_) {
    ++counts_.announced;
    on_apply([](mvcc::WatchTable& t, WatchStream& s) { t.has_room(s.id_); });
  }
  if (!closed_ && catch_up_ && queue_.empty()) step_catch_up();
}

void WatchStream::step_catch_up() {
  ++counts_.catch_up_steps;
  const auto view = life_.member().view();
  auto outcome = catch_up_->step(*view, pace_.records_per_step, [this](const mvcc::WatchMessage& m) {
    if (!writable_ && !catch_up_fragment_open_) return false;
    catch_up_fragment_open_ = m.fragment;
    write(m);
    return true;
  });
  if (!outcome) return on_error_(outcome.error());
  switch (*outcome) {
    case mvcc::CatchUp::Outcome::kMore:
      return loop_.post([self = shared_from_this()] { self->pump(); });
    case mvcc::CatchUp::Outcome::kBlocked:
      ++counts_.catch_ups_blocked;
      return;  // the end of the pause goes on
    case mvcc::CatchUp::Outcome::kDone:
      return on_apply([work = std::move(catch_up_)](mvcc::WatchTable& t, WatchStream&) mutable {
        t.caught_up(std::move(work));
      });
  }
}

void WatchStream::write(const mvcc::WatchMessage& m) {
  on_message_(m);
  if (!hurried_ && writable_ && prng_.chance(1, pace_.pause_one_in)) pause();
}

void WatchStream::pause() {
  writable_ = false;
  const int64_t ns = static_cast<int64_t>(prng_.below(static_cast<uint64_t>(pace_.pause_ns_max))) + 1;
  world_.after(ns, [self = shared_from_this(), number = ++pauses_] {
    self->loop_.post([self, number] {
      if (self->pauses_ != number) return;
      self->writable_ = true;
      self->pump();
    });
  });
}

}  // namespace quoin::scenarios
