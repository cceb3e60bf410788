#include "scenarios/watching.h"

#include <fmt/format.h>

#include <algorithm>

namespace quoin::scenarios {

namespace {
constexpr size_t kWatchersMax = 12;
constexpr uint64_t kLinesMax = 3;
constexpr int64_t kOwnIds = 1000;  // ids that clients choose start here, far from those the member chooses
constexpr const char* kTaken = "mvcc: duplicate watch ID provided on the WatchStream";
}  // namespace

void WatchCounts::add(const WatchCounts& o) {
  for (size_t WatchCounts::*n :
       {&WatchCounts::watchers, &WatchCounts::resumed, &WatchCounts::messages, &WatchCounts::events,
        &WatchCounts::fragments, &WatchCounts::progress, &WatchCounts::cancelled, &WatchCounts::compacted,
        &WatchCounts::refusals, &WatchCounts::caught_up}) {
    this->*n += o.*n;
  }
}

void Watching::fail(const Watcher* watcher, const std::string& problem) {
  if (problem.empty() || !problem_.empty()) return;
  problem_ = watcher != nullptr ? watcher->describe() + ": " + problem : "a watch stream: " + problem;
}

// ---- lives ----

void Watching::start(Life& life, Clients& clients) {
  life_ = &life;
  clients_ = &clients;
  ++life_number_;
  quiet_ = false;
  clients.loop().post([this, number = life_number_] {
    if (number != life_number_) return;
    const uint64_t lines = prng_.between(1, kLinesMax);
    for (uint64_t i = 0; i < lines; ++i) open_line();
    counts_.resumed += watchers_.size();
    for (const auto& w : watchers_) ask(*lines_[prng_.below(lines)], w);
    while (watchers_.size() < 3) {
      watchers_.push_back(draw_watcher());
      ask(*lines_[prng_.below(lines)], watchers_.back());
    }
  });
  act_later();
}

void Watching::disconnect() {
  life_ = nullptr;
  ++life_number_;
  for (auto& line : lines_) line->stream->close();
}

void Watching::end_life() {
  disconnect();
  clients_ = nullptr;
  lines_.clear();
  for (const auto* list : {&watchers_, &ended_}) {
    for (const auto& w : *list) {
      told_before_ = std::max(told_before_, w->told());
      w->disconnected();
    }
  }
}

std::string Watching::survived() {
  if (told_before_ > history_.revision() && problem_.empty()) {
    problem_ = fmt::format("watchers were told of revision {}; the store, started again, stands at {}",
                           told_before_, history_.revision());
  }
  return settle();
}

std::string Watching::settle() {
  log_.follow(history_);
  for (const auto* list : {&watchers_, &ended_}) {
    for (const auto& w : *list) {
      if (problem_.empty()) problem_ = w->settle(log_);
    }
  }
  std::erase_if(ended_, [](const auto& w) { return w->settled(); });
  return problem_;
}

void Watching::be_quiet() {
  quiet_ = true;
  if (life_ == nullptr) return;
  for (auto& line : lines_) line->progress_answered = false;
  ask_progress_later();
}

// A request for progress is dropped while a watcher is behind; clients ask again.
void Watching::ask_progress_later() {
  world_.after(50 * io::kMillisecond, [this, number = life_number_] {
    if (number != life_number_ || !quiet_) return;
    clients_->loop().post([this] {
      for (auto& line : lines_) {
        if (!line->stream->closed() && !line->progress_answered) line->stream->request_progress();
      }
    });
    ask_progress_later();
  });
}

bool Watching::caught_up() {
  if (!settle().empty() || !missing().empty()) return false;
  ++counts_.caught_up;
  edges_.met("watchers told everything");
  return true;
}

std::string Watching::missing() const {
  for (const auto& line : lines_) {
    if (line->stream->closed() || line->places.empty() || line->progress_answered) continue;
    // One that starts in the future keeps its stream from answering.
    const bool due = std::all_of(line->places.begin(), line->places.end(),
                                 [&](const auto& p) { return p.second.start <= log_.revision(); });
    if (due) return "a request for progress has no answer";
  }
  for (const auto& w : watchers_) {
    if (!w->complete(log_)) {
      return fmt::format("{} waits for {}, the store stands at {}", w->describe(), w->next(),
                         log_.revision());
    }
  }
  return {};
}

// ---- what clients do ----

Watching::Line& Watching::open_line() {
  Line& line = *lines_.emplace_back(std::make_unique<Line>());
  Line* const at = &line;
  line.stream = std::make_shared<WatchCall>(
      clients_->any(), [this, at](const mvcc::WatchMessage& m) { receive(*at, m); },
      [this, at](GrpcStatus status, std::string_view text) { ended(*at, status, text); },
      [this](std::string problem) { fail(nullptr, problem); });
  return line;
}

void Watching::act_later() {
  const int64_t ns = static_cast<int64_t>(prng_.below(30 * io::kMillisecond)) + 1;
  world_.after(ns, [this, number = life_number_] {
    if (number != life_number_ || quiet_) return;
    clients_->loop().post([this, number] {
      if (number == life_number_ && !quiet_) act();
    });
    act_later();
  });
}

std::vector<Watching::Line*> Watching::open_lines() {
  std::vector<Line*> open;
  for (auto& line : lines_) {
    if (!line->stream->closed()) open.push_back(line.get());
  }
  return open;
}

void Watching::act() {
  const std::vector<Line*> open = open_lines();
  if (open.empty()) return;
  Line& line = *open[prng_.below(open.size())];
  switch (prng_.below(14)) {
    case 0:
    case 1:
    case 2:
      if (watchers_.size() >= kWatchersMax) return;
      watchers_.push_back(draw_watcher());
      return ask(line, watchers_.back());
    case 3:
    case 4:
      return cancel_one(line);
    case 5:
      return ask_for_taken(line);
    case 6:
      return close_line(line);
    case 12:
    case 13:
      return use_again(line);
    case 7:
    case 8:
    default:
      return line.stream->request_progress();
  }
}

// What the client has on this stream and wants to go on with.
std::vector<std::shared_ptr<Watcher>> Watching::leave(Line& line) {
  std::vector<std::shared_ptr<Watcher>> moving;
  for (const auto& [id, place] : line.places) {
    if (place.compacted) continue;  // it has been asked for anew
    if (place.cancelling) {
      std::erase(watchers_, place.watcher);
      place.watcher->disconnected();
      ended_.push_back(place.watcher);
    } else {
      moving.push_back(place.watcher);
    }
  }
  for (const Asked& asked : line.asked) {
    if (asked.watcher) moving.push_back(asked.watcher);
  }
  for (const auto& w : moving) w->disconnected();
  line.places.clear();
  line.asked.clear();
  return moving;
}

// The client cancels the stream: what it has there goes on over another one.
void Watching::close_line(Line& line) {
  const auto moving = leave(line);
  line.stream->close();
  Line& next = open_line();
  for (const auto& w : moving) ask(next, w);
}

// The stream ended by itself: its connection is gone, or the member stops.
void Watching::ended(Line& line, GrpcStatus status, std::string_view text) {
  if (status != GrpcStatus::kUnavailable && !life_->failure()) {
    fail(nullptr, fmt::format("ends with {}: {}", static_cast<int>(status), text));
  }
  const auto moving = std::make_shared<std::vector<std::shared_ptr<Watcher>>>(leave(line));
  const int64_t ns = static_cast<int64_t>(prng_.below(20 * io::kMillisecond)) + 1;
  world_.after(ns, [this, moving, number = life_number_] {
    if (number != life_number_) return;
    clients_->loop().post([this, moving, number] {
      if (number != life_number_) return;
      std::vector<Line*> open = open_lines();
      Line& next = open.empty() || prng_.chance(1, 2) ? open_line() : *open[prng_.below(open.size())];
      for (const auto& w : *moving) ask(next, w);
    });
  });
}

std::shared_ptr<Watcher> Watching::draw_watcher() {
  using namespace std::literals;
  mvcc::WatchRequest r;
  switch (prng_.below(5)) {
    case 0:
    case 1:
      r.key = r.range_end = "\0"s;
      break;
    case 2:
      r.key = "pair";
      r.range_end = "pais";
      break;
    case 3:
      r.key = fmt::format("key{:02}", prng_.below(24));
      r.range_end = "\0"s;
      break;
    default:
      r.key = prng_.chance(1, 2) ? fmt::format("pair{}/a", prng_.below(6))
                                 : fmt::format("key{:02}", prng_.below(24));
  }
  r.prev_kv = prng_.chance(1, 2);
  r.fragment = prng_.chance(1, 2);
  r.progress_notify = prng_.chance(1, 2);
  r.no_put = prng_.chance(1, 6);
  r.no_delete = prng_.chance(1, 6);
  const auto view = life_->member().view();
  const int64_t now = view->revision(), oldest = std::max<int64_t>(view->compact_revision(), 1);
  switch (prng_.below(8)) {
    case 0:
    case 1:
      break;  // from now on
    case 2:
      r.start_revision = now + static_cast<int64_t>(prng_.between(1, 40));
      break;
    case 3:  // perhaps compacted
      r.start_revision = static_cast<int64_t>(prng_.between(1, static_cast<uint64_t>(oldest)));
      break;
    case 4:
      r.start_revision = oldest;
      break;
    default:
      r.start_revision =
          static_cast<int64_t>(prng_.between(static_cast<uint64_t>(oldest), static_cast<uint64_t>(now)));
  }
  ++counts_.watchers;
  return std::make_shared<Watcher>(next_watcher_++, std::move(r),
                                   life_->member().config().max_request_bytes + (512 << 10));
}

// A watcher gives its id to another one in one breath; what is still read for the first must not reach the second.
void Watching::use_again(Line& line) {
  if (watchers_.size() >= kWatchersMax + 3) return;
  for (auto& [id, place] : line.places) {
    if (id < kOwnIds || place.cancelling || place.compacted) continue;
    cancel(line, id, place);
    watchers_.push_back(draw_watcher());
    return ask(line, watchers_.back(), id);
  }
}

void Watching::ask(Line& line, std::shared_ptr<Watcher> watcher, int64_t wanted_id) {
  mvcc::WatchRequest r = watcher->resume();
  if (wanted_id != 0 || prng_.chance(1, 3)) {
    const int64_t id = wanted_id != 0 ? wanted_id : kOwnIds + static_cast<int64_t>(prng_.below(2));
    if (line.taken.insert(id).second) r.watch_id = id;
  }
  trace_.note("watch", watcher->number(), static_cast<uint64_t>(r.start_revision));
  line.asked.push_back({std::move(watcher), r.start_revision, history_.acknowledged_revision()});
  line.stream->create(r);
}

void Watching::ask_for_taken(Line& line) {
  if (line.taken.empty() || *line.taken.rbegin() == 0) return;
  mvcc::WatchRequest r;
  r.key = "key00";
  r.watch_id = *line.taken.rbegin();
  line.asked.push_back({});
  line.stream->create(r);
}

void Watching::cancel(Line& line, int64_t id, Place& place) {
  place.cancelling = true;
  line.taken.erase(id);
  line.used.insert(id);
  line.stream->cancel(id);
}

void Watching::cancel_one(Line& line) {
  for (auto& [id, place] : line.places) {
    if (place.cancelling || place.compacted || !prng_.chance(1, 2)) continue;
    return cancel(line, id, place);
  }
}

// ---- what they are told ----

void Watching::receive(Line& line, const mvcc::WatchMessage& m) {
  trace_.note("told", static_cast<uint64_t>(m.watch_id), static_cast<uint64_t>(m.header_revision));
  trace_.note(m.fragment ? "fragment" : "whole", m.event_count, static_cast<uint64_t>(world_.now()));
  ++counts_.messages;
  const auto view = life_->member().view();
  if (m.header_revision > view->revision()) {
    return fail(nullptr, fmt::format("a header of revision {}, the store stands at {}", m.header_revision,
                                     view->revision()));
  }
  if (m.created) return receive_created(line, m);
  if (m.progress()) return receive_progress(line, m);
  const auto it = line.places.find(m.watch_id);
  if (it == line.places.end()) {
    return fail(nullptr, fmt::format("watch id {} is told of revision {} before it was created or after it "
                                     "was cancelled",
                                     m.watch_id, m.header_revision));
  }
  if (m.canceled) return receive_cancelled(line, m, it->second);
  Watcher& w = *it->second.watcher;
  if (it->second.compacted) return fail(&w, "events after its cancel");
  counts_.events += m.event_count;
  counts_.fragments += m.fragment ? 1 : 0;
  if (m.fragment) edges_.met("watch fragments");
  fail(&w, w.events(m, *view));
}

void Watching::receive_created(Line& line, const mvcc::WatchMessage& m) {
  if (line.asked.empty()) return fail(nullptr, "a creation that nobody asked for");
  const Asked asked = std::move(line.asked.front());
  line.asked.pop_front();
  if (!asked.watcher || m.canceled) {
    ++counts_.refusals;
    edges_.met("watch id refused");
    const bool right = !asked.watcher && m.canceled && m.watch_id == -1 && m.cancel_reason == kTaken;
    if (!right) fail(nullptr, fmt::format("a creation answered wrongly: \"{}\"", m.cancel_reason));
    return;
  }
  line.taken.insert(m.watch_id);
  if (line.used.contains(m.watch_id)) edges_.met("watch id used again");
  if (!line.places.emplace(m.watch_id, Place{asked.watcher, asked.start}).second) {
    fail(asked.watcher.get(), fmt::format("gets the id {}, which another one has", m.watch_id));
  }
  fail(asked.watcher.get(), asked.watcher->created(m.header_revision, asked.at_least));
}

void Watching::receive_cancelled(Line& line, const mvcc::WatchMessage& m, Place& place) {
  const std::shared_ptr<Watcher> w = place.watcher;
  if (m.compact_revision != 0) {
    ++counts_.compacted;
    edges_.met("watch compacted");
    if (m.header_revision != 0) return fail(w.get(), "a header revision in a cancel for a compaction");
    if (place.compacted) return fail(w.get(), "cancelled twice for a compaction");
    place.compacted = true;
    fail(w.get(), w->compacted(m.compact_revision, *life_->member().view()));
    // The id stays taken until its client cancels it; then the client starts again from what is left.
    if (place.cancelling) {
      std::erase(watchers_, w);
      ended_.push_back(w);
      return;
    }
    cancel(line, m.watch_id, place);
    return ask(line, w);
  }
  ++counts_.cancelled;
  if (!place.cancelling) return fail(w.get(), "cancelled without a reason: " + m.cancel_reason);
  if (!place.compacted) {
    std::erase(watchers_, w);
    w->disconnected();
    ended_.push_back(w);
  }
  line.places.erase(m.watch_id);
}

void Watching::receive_progress(Line& line, const mvcc::WatchMessage& m) {
  const auto view = life_->member().view();
  ++counts_.progress;
  if (m.watch_id != mvcc::kStreamProgressId) {
    const auto it = line.places.find(m.watch_id);
    if (it == line.places.end() || it->second.compacted) return fail(nullptr, "progress of no watcher");
    Watcher& w = *it->second.watcher;
    edges_.met("watch progress of one watcher");
    if (!w.request().progress_notify) return fail(&w, "progress that was not asked for");
    return fail(&w, w.progress(m.header_revision, *view));
  }
  line.progress_answered = true;
  edges_.met("watch progress of a stream");
  for (auto& [id, place] : line.places) {
    if (place.compacted) return fail(place.watcher.get(), "progress for a stream with a cancelled watcher");
    fail(place.watcher.get(), place.watcher->progress(m.header_revision, *view));
  }
}

}  // namespace quoin::scenarios
