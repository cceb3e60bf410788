// Matching and sending what a batch changed.
#include "mvcc/watch_table.h"

namespace quoin::mvcc {

void WatchTable::State::publish() {
  view = store.publish();
  const std::vector<Change> changes = store.take_changes();
  for (size_t begin = 0; begin < changes.size();) {
    size_t end = begin + 1;
    while (end < changes.size() && changes[end].revision.main == changes[begin].revision.main) ++end;
    send_revision(std::span(changes).subspan(begin, end - begin));
    pass.clear();
    begin = end;
  }
  if (!changes.empty()) show();
}

void WatchTable::State::send_revision(std::span<const Change> changes) {
  const int64_t revision = changes.front().revision.main;
  for (const Change& c : changes) {
    // The newest records are in memory or were just written: not to be able to read them is not a fault of
    // the client's. No floor: `next` of a synced watcher may lie below what is compacted.
    const auto added =
        pass.add(synced, *view, {revision, c.tombstone, c.record.view(), c.key, {}}, INT64_MIN);
    CHECK(added.has_value(), "reading the record before {}: {}", revision, added.error().text());
  }
  // Streams see their watchers in the order in which they were made.
  for (WatchTarget* target : pass.touched()) {
    auto& w = static_cast<Watcher&>(*target);
    WatchStream& stream = *w.stream;
    bool taken = false;
    if (!stream.blocked) {
      const EventPass::Response response{revision, stream.sink->header_bytes(revision),
                                         options.fragment_bytes};
      taken = pass.send(w, response, [&](const WatchMessage& m) { return deliver(stream, m); });
    }
    if (taken) {
      w.next = revision + 1;
      w.sent_since_tick = true;
    } else {
      w.next = revision;
      set_state(w, WatcherState::kWaiting);
    }
  }
}

}  // namespace quoin::mvcc
