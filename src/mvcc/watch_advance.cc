// Bringing waiting watchers on: small gaps are closed here, within bounds, and the others go to the loop.
#include <algorithm>

#include "mvcc/catch_up.h"
#include "mvcc/watch_table.h"
#include "wire/coding.h"

namespace quoin::mvcc {

namespace {
// What apply reads for a stream's watchers in one call. What they miss beyond that the loop reads.
constexpr CatchUpBounds kInlineBounds{1'000, 1u << 20};
}  // namespace

std::vector<Watcher*> WatchTable::State::some_waiting(WatchStream& stream) {
  std::vector<Watcher*> some;
  const size_t n = std::min(stream.waiting.size(), kCatchUpWatchersMax);
  some.reserve(n);
  auto it = stream.waiting.lower_bound(stream.waiting_from);
  while (some.size() < n) {
    if (it == stream.waiting.end()) it = stream.waiting.begin();
    some.push_back(stream.watchers.at(*it).get());
    ++it;
  }
  stream.waiting_from = it == stream.waiting.end() ? INT64_MIN : *it;
  return some;
}

void WatchTable::State::advance(WatchStream& stream) {
  advance(stream, some_waiting(stream));
  if (!stream.blocked && !stream.catch_up_out && !stream.waiting.empty()) {
    start_catch_up(stream, some_waiting(stream));
  }
}

void WatchTable::State::advance(WatchStream& stream, const std::vector<Watcher*>& some) {
  std::vector<Watcher*> near;
  for (Watcher* w : some) {
    const int64_t missing = view->revision() + 1 - w->next;
    if (missing <= 0) {
      set_state(*w, WatcherState::kSynced);
    } else if (w->next < view->compact_revision()) {
      kill(*w);
    } else if (missing <= kSwitchRevisions) {
      near.push_back(w);
    }
  }
  if (!stream.blocked && !near.empty()) advance_inline(stream, near);
  if (!stream.blocked && !stream.catch_up_out) {
    std::vector<Watcher*> rest;
    std::copy_if(some.begin(), some.end(), std::back_inserter(rest),
                 [](const Watcher* w) { return w->state == WatcherState::kWaiting; });
    if (!rest.empty()) start_catch_up(stream, rest);
  }
  show();
}

std::unique_ptr<CatchUp> WatchTable::State::make_catch_up(WatchStream& stream,
                                                          const std::vector<Watcher*>& some) {
  const int64_t revision = view->revision();
  const size_t beside =
      stream.sink->header_bytes(revision) - wire::varint_size(static_cast<uint64_t>(revision));
  auto inner = std::make_unique<CatchUp::State>(options, beside, probe.events);
  for (const Watcher* w : some) {
    CatchUp::Item item;
    item.serial = w->serial;
    item.watch_id = w->watch_id;
    item.filter = w->filter;
    item.next = w->next;
    inner->add(std::move(item));
  }
  return std::unique_ptr<CatchUp>(new CatchUp(stream.id, std::move(inner)));
}

void WatchTable::State::advance_inline(WatchStream& stream, const std::vector<Watcher*>& near) {
  const std::unique_ptr<CatchUp> work = make_catch_up(stream, near);
  const auto outcome = work->state_->step(
      view, kInlineBounds, [&](const WatchMessage& m) { return !stream.blocked && stream.sink->deliver(m); });
  CHECK(outcome.has_value(), "reading for watchers: {}", outcome.error().text());
  if (*outcome == CatchUp::Outcome::kBlocked) {
    stream.blocked = true;
    stream.waiting_from = work->state_->refused_item->watch_id;  // its turn when there is room again
  }
  // A response that was not taken is dropped with the CatchUp: its watcher's `next` is still below it.
  for (size_t i = 0; i < near.size(); ++i) {
    Watcher& w = *near[i];
    const CatchUp::Item& item = work->state_->items[i];
    w.next = item.next;
    w.sent_since_tick = w.sent_since_tick || item.sent;
    if (w.next > view->revision()) set_state(w, WatcherState::kSynced);
  }
}

void WatchTable::State::start_catch_up(WatchStream& stream, const std::vector<Watcher*>& some) {
  for (Watcher* w : some) set_state(*w, WatcherState::kCatchingUp);
  stream.catch_up_out = true;
  stream.sink->catch_up(make_catch_up(stream, some));
}

}  // namespace quoin::mvcc
