// Matching and sending what a batch changed, in steps: one entry may have changed a million keys, and ten
// thousand watchers may want one key.
#include "mvcc/watch_table.h"

namespace quoin::mvcc {

bool WatchTable::State::publish_step() {
  if (sending == Sending::kReplaced) {
    if (!fall_back_some()) return false;
    sending = Sending::kNothing;
    show();
    return true;
  }
  if (sending == Sending::kNothing) {
    view = store.publish();
    store.take_changes(&changes);
    if (changes.empty()) return true;
    sending = Sending::kMatch;
  }
  work_max = pass.work() + kPublishStepWork;
  bool done = false;
  while (!done && pass.work() < work_max) {
    switch (sending) {
      case Sending::kMatch:
        match_revision();
        break;
      case Sending::kSend:
        send_revision();
        break;
      case Sending::kDrop:
        drop_revision();
        break;
      case Sending::kReplaced:
      case Sending::kNothing:
        done = true;
        break;
    }
  }
  if (!done && sending != Sending::kNothing) return false;
  show();
  return true;
}

void WatchTable::State::publish() {
  do {
    while (!publish_step()) {
    }
  } while (store.has_unpublished());
}

void WatchTable::State::match_revision() {
  const int64_t revision = changes.front().revision.main;
  for (; matched < changes.size() && changes[matched].revision.main == revision; ++matched) {
    if (pass.work() >= work_max) return;
    const Change& c = changes[matched];
    // The newest records are in memory or were just written: not to be able to read them is not a fault of
    // the client's. No floor: `next` of a synced watcher may lie below what is compacted.
    const auto added =
        pass.add(synced, *view, {revision, c.tombstone, c.record.view(), c.key, {}}, INT64_MIN);
    CHECK(added.has_value(), "reading the record before {}: {}", revision, added.error().text());
  }
  to_serve = pass.touched();
  served = 0;
  sending = Sending::kSend;
}

// Streams see their watchers in the order in which they were made.
void WatchTable::State::send_revision() {
  const int64_t revision = changes.front().revision.main;
  for (; served < to_serve.size(); ++served) {
    if (pass.work() >= work_max) return;
    auto& w = static_cast<Watcher&>(*to_serve[served]);
    WatchStream& stream = *w.stream;
    auto sent = EventPass::Sent::kRefused;
    if (!stream.blocked && !stream.closed) {
      const EventPass::Response response{revision, stream.sink->header_bytes(revision),
                                         options.fragment_bytes};
      sent = pass.send(
          w, response, [&](const WatchMessage& m) { return deliver(stream, m); }, nullptr, work_max);
    } else {
      pass.count_passed_over();
    }
    if (sent == EventPass::Sent::kMore) return;
    if (sent == EventPass::Sent::kTaken) {
      w.next = revision + 1;
      w.sent_since_tick = true;
    } else {
      w.next = revision;
      if (!stream.closed) set_state(w, WatcherState::kWaiting);
    }
  }
  pass.clear();
  sending = Sending::kDrop;
}

void WatchTable::State::drop_revision() {
  for (; matched > 0; --matched) {
    if (pass.work() >= work_max) return;
    changes.pop_front();
    pass.count_passed_over();
  }
  sending = changes.empty() ? Sending::kNothing : Sending::kMatch;
}

bool WatchTable::State::fall_back_some() {
  size_t left = kWatchersPerTask;
  for (auto at = streams.lower_bound(replaced_stream); at != streams.end(); ++at) {
    const auto& [id, stream] = *at;
    replaced_stream = id;
    for (auto it = stream->watchers.lower_bound(replaced_watcher); it != stream->watchers.end(); ++it) {
      replaced_watcher = it->first;
      if (left-- == 0) return false;
      Watcher& w = *it->second;
      if (w.state != WatcherState::kSynced) continue;
      w.next = std::max(w.next, sent_before_replaced + 1);
      if (w.next <= view->revision()) set_state(w, WatcherState::kWaiting);
    }
    replaced_stream = StreamId(id.v + 1);
    replaced_watcher = INT64_MIN;
    if (!stream->waiting.empty()) {
      // May read and send as much as one step ought to.
      advance(*stream);
      return false;
    }
    if (left == 0) return false;
    --left;
  }
  return true;
}

}  // namespace quoin::mvcc
