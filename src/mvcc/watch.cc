// The watch table's states and its public methods.
#include "mvcc/watch.h"

#include <algorithm>

#include "mvcc/catch_up.h"
#include "mvcc/watch_table.h"

namespace quoin::mvcc {

namespace {

constexpr std::string_view kEmptyRange = "mvcc: watcher range is empty";
constexpr std::string_view kDuplicateId = "mvcc: duplicate watch ID provided on the WatchStream";

}  // namespace

// ---- states ----

void WatchTable::State::set_state(Watcher& w, WatcherState state) {
  auto slow_state = [](WatcherState s) {
    return s == WatcherState::kCatchingUp || s == WatcherState::kWaiting;
  };
  if (w.state == state) return;
  if (w.state == WatcherState::kSynced) {
    synced.remove(w.range(), &w);
    --w.stream->synced;
  } else if (w.state == WatcherState::kWaiting) {
    w.stream->waiting.erase(w.watch_id);
  }
  slow -= slow_state(w.state) ? 1 : 0;
  slow += slow_state(state) ? 1 : 0;
  w.state = state;
  if (state == WatcherState::kSynced) {
    synced.add(w.range(), &w);
    ++w.stream->synced;
  } else if (state == WatcherState::kWaiting) {
    w.stream->waiting.insert(w.watch_id);
  }
  store.collect_changes(!synced.empty());
}

// Compaction passed the next event this watcher would get.
void WatchTable::State::kill(Watcher& w) {
  set_state(w, WatcherState::kDead);
  WatchMessage m;
  m.watch_id = w.watch_id;
  m.canceled = true;
  m.compact_revision = view->compact_revision();
  w.stream->sink->control(std::move(m));
}

void WatchTable::State::remove(WatchStream& stream, Watcher& w) {
  set_state(w, WatcherState::kDead);
  if (const auto it = stream.starts.find(w.start_revision); it != stream.starts.end())
    stream.starts.erase(it);
  --alive;
}

bool WatchTable::State::deliver(WatchStream& stream, const WatchMessage& m) {
  if (!stream.sink->deliver(m)) {
    stream.blocked = true;
    return false;
  }
  probe.events.inc(m.event_count);
  return true;
}

void WatchTable::State::show() {
  probe.streams.set(static_cast<double>(streams.size()));
  probe.watchers.set(static_cast<double>(alive));
  probe.slow_watchers.set(static_cast<double>(slow));
}

// ---- the table ----

WatchTable::WatchTable(Store& store, metrics::Registry& metrics, const WatchOptions& options)
    : state_(std::make_unique<State>(store, metrics, options)) {
  state_->publish();
}
WatchTable::~WatchTable() {
  state_->store.collect_changes(false);
}

std::shared_ptr<const ReadView> WatchTable::publish() {
  state_->publish();
  return state_->view;
}

bool WatchTable::publish_step() {
  return state_->publish_step();
}

StreamId WatchTable::open_stream(WatchSink& sink) {
  const StreamId id(state_->next_stream++);
  auto stream = std::make_unique<WatchStream>();
  stream->id = id;
  stream->sink = &sink;
  state_->streams.emplace(id, std::move(stream));
  state_->show();
  return id;
}

void WatchTable::close_stream(StreamId id) {
  State& s = *state_;
  const auto it = s.streams.find(id);
  if (it == s.streams.end()) return;
  s.finish();
  it->second->closed = true;
  it->second->sink = nullptr;
  s.closing.push_back(std::move(it->second));
  s.streams.erase(it);
  s.free_closed(kWatchersPerTask);
  s.show();
}

bool WatchTable::maintain() {
  if (state_->closing.empty()) return false;
  state_->finish();
  const bool more = state_->free_closed(kWatchersPerTask);
  state_->show();
  return more;
}

bool WatchTable::State::free_closed(size_t watchers) {
  while (!closing.empty()) {
    WatchStream& stream = *closing.front();
    for (; !stream.watchers.empty(); --watchers) {
      if (watchers == 0) return true;
      const auto it = stream.watchers.begin();
      remove(stream, *it->second);
      stream.watchers.erase(it);
    }
    closing.pop_front();
  }
  return false;
}

void WatchTable::create(StreamId id, const WatchRequest& request, const Denied& denied) {
  State& s = *state_;
  s.flush();
  WatchStream* stream = s.find(id);
  if (!stream) return;
  const int64_t current = s.view->revision();
  auto refuse = [&](std::string_view reason) {
    WatchMessage m;
    m.watch_id = -1;
    m.header_revision = current;
    m.created = m.canceled = true;
    m.cancel_reason = reason;
    stream->sink->control(std::move(m));
  };
  const std::string key = request.key.empty() ? std::string(1, '\0') : request.key;
  if (request.start_revision < 0) return refuse(error_info(Code::kCompacted).text);
  if (denied) {
    if (const auto reason = denied(key, request.range_end)) return refuse(*reason);
  }
  if (KeyRange{key, request.range_end}.empty()) return refuse(kEmptyRange);
  int64_t watch_id = request.watch_id;
  if (watch_id == 0) {
    while (stream->watchers.contains(stream->next_id)) ++stream->next_id;
    watch_id = stream->next_id++;
  } else if (stream->watchers.contains(watch_id)) {
    return refuse(kDuplicateId);
  }

  auto w = std::make_unique<Watcher>();
  w->serial = s.next_serial++;
  w->stream = stream;
  w->watch_id = watch_id;
  w->filter = {key, request.range_end, request.prev_kv, request.fragment, request.no_put, request.no_delete};
  w->start_revision = request.start_revision;
  w->next = request.start_revision == 0 ? current + 1 : request.start_revision;
  w->progress_notify = request.progress_notify;
  if (w->start_revision > current) stream->starts.insert(w->start_revision);
  stream->waiting.insert(watch_id);
  Watcher* const made = stream->watchers.emplace(watch_id, std::move(w)).first->second.get();
  ++s.alive;
  ++s.slow;

  WatchMessage m;
  m.watch_id = watch_id;
  m.header_revision = current;
  m.created = true;
  stream->sink->control(std::move(m));
  // Only this one: whoever else waits has the stream's room or its CatchUp to wait for.
  s.advance(*stream, {made});
}

void WatchTable::cancel(StreamId id, int64_t watch_id) {
  State& s = *state_;
  s.flush();
  WatchStream* stream = s.find(id);
  if (!stream) return;
  const auto it = stream->watchers.find(watch_id);
  if (it == stream->watchers.end()) return;
  s.remove(*stream, *it->second);
  stream->watchers.erase(it);
  s.show();
  WatchMessage m;
  m.watch_id = watch_id;
  m.header_revision = s.view->revision();
  m.canceled = true;
  stream->sink->control(std::move(m));
}

void WatchTable::request_progress(StreamId id) {
  State& s = *state_;
  s.flush();
  WatchStream* stream = s.find(id);
  if (!stream || stream->watchers.empty() || stream->synced != stream->watchers.size()) return;
  const int64_t current = s.view->revision();
  while (!stream->starts.empty() && *stream->starts.begin() <= current) {
    stream->starts.erase(stream->starts.begin());
  }
  if (!stream->starts.empty()) return;
  WatchMessage m;
  m.watch_id = kStreamProgressId;
  m.header_revision = current;
  (void)stream->sink->deliver(m);  // without room it is dropped, as for a stream that is not synced
}

std::optional<int64_t> WatchTable::progress_tick(StreamId id, int64_t from) {
  State& s = *state_;
  s.flush();
  WatchStream* stream = s.find(id);
  if (!stream) return std::nullopt;
  const int64_t current = s.view->revision();
  size_t left = kWatchersPerTask;
  for (auto it = stream->watchers.lower_bound(from); it != stream->watchers.end(); ++it) {
    const auto& [watch_id, w] = *it;
    if (left-- == 0) return watch_id;
    if (!w->progress_notify || std::exchange(w->sent_since_tick, false)) continue;
    if (w->state != WatcherState::kSynced || current < w->start_revision) continue;
    WatchMessage m;
    m.watch_id = watch_id;
    m.header_revision = current;
    if (!stream->sink->deliver(m)) return std::nullopt;
  }
  return std::nullopt;
}

void WatchTable::has_room(StreamId id) {
  state_->flush();
  WatchStream* stream = state_->find(id);
  if (!stream) return;
  stream->blocked = false;
  state_->advance(*stream);
}

void WatchTable::caught_up(std::unique_ptr<CatchUp> work) {
  State& s = *state_;
  s.flush();
  WatchStream* stream = s.find(work->stream());
  if (!stream) return;
  stream->catch_up_out = false;
  for (const CatchUp::Item& item : work->state_->items) {
    const auto it = stream->watchers.find(item.watch_id);
    if (it == stream->watchers.end() || it->second->serial != item.serial) continue;
    Watcher& w = *it->second;
    if (w.state != WatcherState::kCatchingUp) continue;
    w.next = item.next;
    w.sent_since_tick = w.sent_since_tick || item.sent;
    s.set_state(w, WatcherState::kWaiting);
  }
  s.advance(*stream);
}

void WatchTable::store_replaced() {
  State& s = *state_;
  s.finish();
  s.sent_before_replaced = s.view->revision();
  s.view = s.store.publish();
  s.replaced_stream = StreamId();
  s.replaced_watcher = INT64_MIN;
  s.sending = State::Sending::kReplaced;
}

size_t WatchTable::watchers() const {
  return state_->alive;
}
size_t WatchTable::slow_watchers() const {
  return state_->slow;
}

}  // namespace quoin::mvcc
