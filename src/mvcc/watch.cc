#include "mvcc/watch.h"

#include <algorithm>
#include <set>
#include <span>

#include "mvcc/catch_up.h"
#include "mvcc/watch_events.h"
#include "mvcc/watch_probe.h"
#include "mvcc/watcher_set.h"
#include "wire/coding.h"

namespace quoin::mvcc {

namespace {

constexpr std::string_view kEmptyRange = "mvcc: watcher range is empty";
constexpr std::string_view kDuplicateId = "mvcc: duplicate watch ID provided on the WatchStream";

enum class WatcherState : uint8_t { kSynced, kCatchingUp, kWaiting, kDead };

struct Stream;

struct Watcher {
  uint64_t serial = 0;
  Stream* stream = nullptr;
  int64_t id = 0;
  WatchFilter filter;
  int64_t start_revision = 0;  // as requested
  int64_t next = 0;            // events below were sent, or are none of this watcher's business
  WatcherState state = WatcherState::kWaiting;
  bool progress_notify = false;
  bool sent_since_tick = false;
  std::vector<uint32_t> matched;  // events of the revision being sent

  KeyRange range() const { return {filter.key, filter.range_end}; }
};

struct Stream {
  StreamId id;
  WatchSink* sink = nullptr;
  std::map<int64_t, std::unique_ptr<Watcher>> watchers;
  std::set<int64_t> waiting;  // ids of watchers in that state
  int64_t next_id = 0;
  bool blocked = false;  // the sink had no room
  bool catch_up_out = false;
  size_t synced = 0;
};

// The encoded tails of one revision, by which events are in them and whether with prev_kv.
class Tails {
 public:
  Tails(const std::vector<EventRef>& plain, const std::vector<EventRef>& with_prev)
      : plain_(plain), with_prev_(with_prev) {}

  const std::vector<EventRef>& events(bool prev_kv) const { return prev_kv ? with_prev_ : plain_; }
  std::vector<EventRef> pick(bool prev_kv, const std::vector<uint32_t>& numbers) const {
    std::vector<EventRef> out;
    out.reserve(numbers.size());
    for (const uint32_t n : numbers) out.push_back(events(prev_kv)[n]);
    return out;
  }
  const Blob& tail(bool prev_kv, const std::vector<uint32_t>& numbers) {
    // Nearly always every event or just one matched, and few different sets: a list is enough.
    for (const Entry& e : entries_) {
      if (e.prev_kv == prev_kv && e.numbers == numbers) return e.tail;
    }
    if (entries_.size() == kTailsMax) entries_.erase(entries_.begin());
    entries_.push_back({prev_kv, numbers, encode_events(pick(prev_kv, numbers))});
    return entries_.back().tail;
  }

 private:
  static constexpr size_t kTailsMax = 64;
  struct Entry {
    bool prev_kv;
    std::vector<uint32_t> numbers;
    Blob tail;
  };
  const std::vector<EventRef>& plain_;
  const std::vector<EventRef>& with_prev_;
  std::vector<Entry> entries_;
};

}  // namespace

struct WatchTable::State {
  State(Store& s, metrics::Registry& metrics, const WatchOptions& o) : store(s), options(o), probe(metrics) {}

  Store& store;
  const WatchOptions options;
  WatchProbe probe;
  std::map<StreamId, std::unique_ptr<Stream>> streams;
  WatcherSet<Watcher> synced;
  uint64_t next_serial = 1;
  uint64_t next_stream = 1;
  std::shared_ptr<const ReadView> view;  // the newest published
  size_t alive = 0;                      // watchers in any state
  size_t slow = 0;                       // catching up or waiting

  void publish();
  void flush() {
    if (store.has_unpublished() || store.published() != view) publish();
  }
  Stream* find(StreamId id) {
    const auto it = streams.find(id);
    return it == streams.end() ? nullptr : it->second.get();
  }
  void set_state(Watcher& w, WatcherState state);
  void kill(Watcher& w);
  void send_revision(std::span<const Change> changes);
  void send_to(Watcher& w, int64_t revision, Tails& tails);
  void advance(Stream& stream);
  void advance_inline(Stream& stream, const std::vector<Watcher*>& watchers);
  void advance_on_loop(Stream& stream, const std::vector<Watcher*>& watchers);
  std::unique_ptr<CatchUp> make_catch_up(Stream& stream, const std::vector<Watcher*>& watchers);
  void show();
};

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
    w.stream->waiting.erase(w.id);
  }
  slow -= slow_state(w.state) ? 1 : 0;
  slow += slow_state(state) ? 1 : 0;
  w.state = state;
  if (state == WatcherState::kSynced) {
    synced.add(w.range(), &w);
    ++w.stream->synced;
  } else if (state == WatcherState::kWaiting) {
    w.stream->waiting.insert(w.id);
  }
  store.collect_changes(!synced.empty());
}

// Compaction passed the next event this watcher would get.
void WatchTable::State::kill(Watcher& w) {
  set_state(w, WatcherState::kDead);
  WatchMessage m;
  m.watch_id = w.id;
  m.canceled = true;
  m.compact_revision = view->compact_revision();
  w.stream->sink->control(std::move(m));
}

void WatchTable::State::show() {
  probe.streams.set(static_cast<double>(streams.size()));
  probe.watchers.set(static_cast<double>(alive));
  probe.slow_watchers.set(static_cast<double>(slow));
}

// ---- matching what a batch changed ----

void WatchTable::State::publish() {
  view = store.publish();
  const std::vector<Change> changes = store.take_changes();
  for (size_t begin = 0; begin < changes.size();) {
    size_t end = begin + 1;
    while (end < changes.size() && changes[end].revision.main == changes[begin].revision.main) ++end;
    send_revision(std::span(changes).subspan(begin, end - begin));
    begin = end;
  }
  if (!changes.empty()) show();
}

void WatchTable::State::send_revision(std::span<const Change> changes) {
  const int64_t revision = changes.front().revision.main;
  std::vector<Watcher*> touched;
  std::vector<bool> wants_prev(changes.size());
  for (uint32_t i = 0; i < changes.size(); ++i) {
    synced.match(changes[i].key, [&](Watcher& w) {
      if (revision < w.next || (changes[i].tombstone ? w.filter.no_delete : w.filter.no_put)) return;
      if (w.matched.empty()) touched.push_back(&w);
      w.matched.push_back(i);
      wants_prev[i] = wants_prev[i] || w.filter.prev_kv;
    });
  }
  if (touched.empty()) return;
  std::vector<EventRef> plain, with_prev;
  for (uint32_t i = 0; i < changes.size(); ++i) {
    const Change& c = changes[i];
    plain.push_back({revision, c.tombstone, c.record.view(), c.key, {}});
    with_prev.push_back(plain.back());
    if (!wants_prev[i]) continue;
    const auto prev = previous_record(*view, plain.back(), c.create);
    CHECK(prev.has_value(), "reading the record before {}: {}", revision, prev.error().text());
    with_prev.back().prev_kv = *prev;
  }
  // Streams see their watchers in the order in which they were made.
  std::sort(touched.begin(), touched.end(),
            [](const Watcher* a, const Watcher* b) { return a->serial < b->serial; });
  Tails tails(plain, with_prev);
  for (Watcher* w : touched) send_to(*w, revision, tails);
}

void WatchTable::State::send_to(Watcher& w, int64_t revision, Tails& tails) {
  Stream& stream = *w.stream;
  const std::vector<uint32_t>& numbers = w.matched;
  WatchMessage m;
  m.watch_id = w.id;
  m.header_revision = revision;
  m.event_count = numbers.size();
  bool taken = !stream.blocked;
  if (taken) {
    const Blob& tail = tails.tail(w.filter.prev_kv, numbers);
    // A rough test first; cut_response decides.
    const bool large = w.filter.fragment && numbers.size() > 1 &&
                       stream.sink->header_bytes(revision) + 32 + tail.size() >= options.fragment_bytes;
    if (large) {
      const size_t header = stream.sink->header_bytes(revision);
      bool first = true;
      for (WatchMessage& part :
           cut_response(m, tails.pick(w.filter.prev_kv, numbers), true, options.fragment_bytes, header)) {
        const bool part_taken = stream.sink->deliver(part);
        CHECK(part_taken || first, "the rest of a fragmented response must be taken");
        if (!part_taken) {
          taken = false;
          break;
        }
        first = false;
      }
    } else {
      m.events = tail;
      taken = stream.sink->deliver(m);
    }
  }
  if (taken) {
    w.next = revision + 1;
    w.sent_since_tick = true;
    probe.events.inc(numbers.size());
  } else {
    stream.blocked = true;
    w.next = revision;
    set_state(w, WatcherState::kWaiting);
  }
  w.matched.clear();
}

// ---- catching up ----

// Brings the stream's waiting watchers on: kills those that compaction overtook, closes small gaps here, and
// hands the others to the loop.
void WatchTable::State::advance(Stream& stream) {
  std::vector<Watcher*> near, far;
  for (const int64_t id : std::vector<int64_t>(stream.waiting.begin(), stream.waiting.end())) {
    Watcher& w = *stream.watchers.at(id);
    const int64_t missing = view->revision() + 1 - w.next;
    if (missing <= 0) {
      set_state(w, WatcherState::kSynced);
    } else if (w.next < view->compact_revision()) {
      kill(w);
    } else if (missing <= kSwitchRevisions) {
      near.push_back(&w);
    } else {
      far.push_back(&w);
    }
  }
  if (!stream.blocked && !near.empty()) advance_inline(stream, near);
  if (!stream.blocked && !far.empty() && !stream.catch_up_out) advance_on_loop(stream, far);
  show();
}

std::unique_ptr<CatchUp> WatchTable::State::make_catch_up(Stream& stream,
                                                          const std::vector<Watcher*>& watchers) {
  const int64_t revision = view->revision();
  const size_t beside =
      stream.sink->header_bytes(revision) - wire::varint_size(static_cast<uint64_t>(revision));
  std::unique_ptr<CatchUp> work(new CatchUp(stream.id, options, beside));
  for (const Watcher* w : watchers) {
    CatchUp::Item item;
    item.serial = w->serial;
    item.watch_id = w->id;
    item.filter = w->filter;
    item.next = w->next;
    work->state_->add(std::move(item));
  }
  return work;
}

void WatchTable::State::advance_inline(Stream& stream, const std::vector<Watcher*>& watchers) {
  const std::unique_ptr<CatchUp> work = make_catch_up(stream, watchers);
  const auto emit = [&](const WatchMessage& m) {
    if (stream.blocked || !stream.sink->deliver(m)) {
      stream.blocked = true;
      return false;
    }
    probe.events.inc(m.event_count);
    return true;
  };
  for (;;) {
    const auto outcome = work->step(*view, SIZE_MAX, emit);
    // The newest records are in memory or were just written: not to be able to read them is not a fault of
    // the client's.
    CHECK(outcome.has_value(), "reading for watchers: {}", outcome.error().text());
    if (*outcome != CatchUp::Outcome::kMore) break;
  }
  CatchUp::State& state = *work->state_;
  // What was not taken is read again later.
  for (const auto& o : state.out)
    state.items[o.item].next = std::min(state.items[o.item].next, o.first_revision);
  for (size_t i = 0; i < watchers.size(); ++i) {
    Watcher& w = *watchers[i];
    w.next = state.items[i].next;
    w.sent_since_tick = w.sent_since_tick || state.items[i].sent;
    if (w.next > view->revision()) set_state(w, WatcherState::kSynced);
  }
}

void WatchTable::State::advance_on_loop(Stream& stream, const std::vector<Watcher*>& watchers) {
  const std::vector<Watcher*> some(
      watchers.begin(),
      watchers.begin() + static_cast<std::ptrdiff_t>(std::min(watchers.size(), kCatchUpWatchersMax)));
  for (Watcher* w : some) set_state(*w, WatcherState::kCatchingUp);
  stream.catch_up_out = true;
  stream.sink->catch_up(make_catch_up(stream, some));
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

StreamId WatchTable::open_stream(WatchSink& sink) {
  const StreamId id(state_->next_stream++);
  auto stream = std::make_unique<Stream>();
  stream->id = id;
  stream->sink = &sink;
  state_->streams.emplace(id, std::move(stream));
  state_->show();
  return id;
}

void WatchTable::close_stream(StreamId id) {
  Stream* stream = state_->find(id);
  if (!stream) return;
  for (auto& [watch_id, w] : stream->watchers) {
    state_->set_state(*w, WatcherState::kDead);
    --state_->alive;
  }
  state_->streams.erase(id);
  state_->show();
}

void WatchTable::create(StreamId id, const WatchRequest& request, const Denied& denied) {
  State& s = *state_;
  s.flush();
  Stream* stream = s.find(id);
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
  w->id = watch_id;
  w->filter = {key, request.range_end, request.prev_kv, request.fragment, request.no_put, request.no_delete};
  w->start_revision = request.start_revision;
  w->next = request.start_revision == 0 ? current + 1 : request.start_revision;
  w->progress_notify = request.progress_notify;
  stream->waiting.insert(watch_id);
  stream->watchers.emplace(watch_id, std::move(w));
  ++s.alive;
  ++s.slow;

  WatchMessage m;
  m.watch_id = watch_id;
  m.header_revision = current;
  m.created = true;
  stream->sink->control(std::move(m));
  s.advance(*stream);
}

void WatchTable::cancel(StreamId id, int64_t watch_id) {
  State& s = *state_;
  s.flush();
  Stream* stream = s.find(id);
  if (!stream) return;
  const auto it = stream->watchers.find(watch_id);
  if (it == stream->watchers.end()) return;
  s.set_state(*it->second, WatcherState::kDead);
  stream->watchers.erase(it);
  --s.alive;
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
  Stream* stream = s.find(id);
  if (!stream || stream->watchers.empty() || stream->synced != stream->watchers.size()) return;
  const int64_t current = s.view->revision();
  for (const auto& [watch_id, w] : stream->watchers) {
    if (current < w->start_revision) return;
  }
  WatchMessage m;
  m.watch_id = kStreamProgressId;
  m.header_revision = current;
  (void)stream->sink->deliver(m);  // without room it is dropped, as for a stream that is not synced
}

void WatchTable::progress_tick(StreamId id) {
  State& s = *state_;
  s.flush();
  Stream* stream = s.find(id);
  if (!stream) return;
  const int64_t current = s.view->revision();
  for (auto& [watch_id, w] : stream->watchers) {
    if (!w->progress_notify || std::exchange(w->sent_since_tick, false)) continue;
    if (w->state != WatcherState::kSynced || current < w->start_revision) continue;
    WatchMessage m;
    m.watch_id = watch_id;
    m.header_revision = current;
    if (!stream->sink->deliver(m)) return;
  }
}

void WatchTable::has_room(StreamId id) {
  state_->flush();
  Stream* stream = state_->find(id);
  if (!stream) return;
  stream->blocked = false;
  state_->advance(*stream);
}

void WatchTable::caught_up(std::unique_ptr<CatchUp> work) {
  State& s = *state_;
  s.flush();
  Stream* stream = s.find(work->stream());
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
  const int64_t sent = s.view->revision();
  s.view = s.store.publish();
  for (auto& [id, stream] : s.streams) {
    for (auto& [watch_id, w] : stream->watchers) {
      if (w->state != WatcherState::kSynced) continue;
      w->next = std::max(w->next, sent + 1);
      if (w->next <= s.view->revision()) s.set_state(*w, WatcherState::kWaiting);
    }
    s.advance(*stream);
  }
}

size_t WatchTable::watchers() const {
  return state_->alive;
}
size_t WatchTable::slow_watchers() const {
  return state_->slow;
}

}  // namespace quoin::mvcc
