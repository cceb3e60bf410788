#include "scenarios/watcher.h"

#include <fmt/format.h>

#include "mvcc/key_range.h"
#include "mvcc/key_value.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::scenarios {

namespace pb = wire::etcdserverpb;

void ChangeLog::follow(const History& history) {
  for (int64_t r = revision() + 1; r <= history.revision(); ++r) {
    const Effect& effect = history.effect_at(r);
    std::vector<Change>& changes = changes_.emplace_back();
    for (const auto& [key, write] : effect) {
      const auto it = state_.find(key);
      changes.push_back({key, it == state_.end() ? std::nullopt : std::optional(it->second), {}});
    }
    apply_effect(effect, r, &state_);
    for (Change& c : changes) {
      if (const auto it = state_.find(c.key); it != state_.end()) c.after = it->second;
    }
  }
}

Watcher::Watcher(uint64_t number, mvcc::WatchRequest request, size_t fragment_bytes)
    : number_(number), request_(std::move(request)), fragment_bytes_(fragment_bytes) {
  next_ = settled_ = request_.start_revision;
}

mvcc::WatchRequest Watcher::resume() const {
  mvcc::WatchRequest r = request_;
  r.start_revision = next_;
  return r;
}

std::string Watcher::describe() const {
  const auto shown = [](const std::string& key) { return key == std::string(1, '\0') ? "\\0" : key; };
  return fmt::format("watcher {} of [{}, {}){}{}{}{} from {}", number_, shown(request_.key),
                     shown(request_.range_end), request_.prev_kv ? " prev_kv" : "",
                     request_.fragment ? " fragment" : "", request_.no_put ? " noput" : "",
                     request_.no_delete ? " nodelete" : "", request_.start_revision);
}

// ---- messages ----

std::string Watcher::created(int64_t header_revision, int64_t at_least) {
  if (header_revision < at_least) {
    return fmt::format("created at revision {}, though {} was acknowledged before", header_revision,
                       at_least);
  }
  told_ = std::max(told_, header_revision);
  if (next_ == 0) next_ = settled_ = header_revision + 1;
  return {};
}

std::string Watcher::events(const mvcc::WatchMessage& message, const mvcc::ReadView& view) {
  if (message.fragment && !request_.fragment) return "a fragment that was not asked for";
  if (request_.fragment && message.event_count > 1 && message.events.size() >= fragment_bytes_) {
    return fmt::format("{} events of {} bytes in one fragment", message.event_count, message.events.size());
  }
  if (std::string problem = decode(message, view); !problem.empty()) return problem;
  if (message.fragment) return {};
  if (response_.size() > mvcc::kResponseRevisionsMax) {
    return fmt::format("{} revisions in one response", response_.size());
  }
  told_ = std::max(told_, response_.back().revision);
  next_ = response_.back().revision + 1;
  for (Told& told : response_) told_of_.push_back(std::move(told));
  response_.clear();
  return {};
}

std::string Watcher::decode(const mvcc::WatchMessage& message, const mvcc::ReadView& view) {
  const auto decoded = wire::decode<pb::WatchResponse>(message.events.view());
  if (!decoded) return "events that can't be decoded: " + std::string(decoded.error().text());
  if (decoded->events.size() != message.event_count) return "another number of events than it says";
  for (const auto& e : decoded->events) {
    if (!e.kv) return "an event without a key";
    const auto kv = mvcc::decode_key_value(e.kv->bytes);
    if (!kv) return "an event whose key can't be decoded";
    const int64_t r = kv->mod_revision;
    // A second part of a revision comes with the same response or not at all.
    const int64_t lowest = response_.empty() ? next_ : response_.back().revision;
    if (r < lowest) return fmt::format("an event of revision {} after everything below {}", r, lowest);
    if (r > view.revision() || r > message.header_revision) {
      return fmt::format("an event of revision {}, the header says {} and the store stands at {}", r,
                         message.header_revision, view.revision());
    }
    if (response_.empty() || response_.back().revision != r) {
      response_.push_back({Told::Kind::kEvents, r, {}});
    }
    Event& event = response_.back().events.emplace_back();
    event.deleted = e.type == wire::mvccpb::Event::EventType::kDelete;
    event.key = std::string(kv->key);
    event.state = KeyState{std::string(kv->value), kv->create_revision, r, kv->version, kv->lease.v};
    event.before_compacted = r - 1 < view.compact_revision();
    if (!e.prev_kv) continue;
    const auto prev = mvcc::decode_key_value(e.prev_kv->bytes);
    if (!prev || prev->key != kv->key) return "a prev_kv of another key";
    event.before = KeyState{std::string(prev->value), prev->create_revision, prev->mod_revision,
                            prev->version, prev->lease.v};
  }
  return {};
}

std::string Watcher::progress(int64_t revision, const mvcc::ReadView& view) {
  if (!response_.empty()) return "progress between the fragments of a response";
  if (revision < request_.start_revision) return fmt::format("progress {} before its start", revision);
  if (revision > view.revision()) {
    return fmt::format("progress {}, the store stands at {}", revision, view.revision());
  }
  if (revision + 1 < next_) return fmt::format("progress {} after revision {}", revision, next_ - 1);
  told_ = std::max(told_, revision);
  next_ = revision + 1;
  told_of_.push_back({Told::Kind::kProgress, revision, {}});
  return {};
}

std::string Watcher::compacted(int64_t compact_revision, const mvcc::ReadView& view) {
  if (!response_.empty()) return "cancelled between the fragments of a response";
  if (compact_revision > view.compact_revision()) {
    return fmt::format("cancelled for a compaction at {}, the store's is at {}", compact_revision,
                       view.compact_revision());
  }
  if (next_ >= compact_revision) {
    return fmt::format("cancelled for a compaction at {} though it waits for {}", compact_revision, next_);
  }
  next_ = compact_revision;
  told_of_.push_back({Told::Kind::kCompacted, compact_revision, {}});
  return {};
}

void Watcher::disconnected() {
  response_.clear();
}

// ---- what happened ----

bool Watcher::wants(const Change& change) const {
  if (change.after ? request_.no_put : request_.no_delete) return false;
  return mvcc::KeyRange{request_.key, request_.range_end}.contains(change.key);
}

std::string Watcher::nothing_between(const ChangeLog& log, int64_t from, int64_t to) const {
  for (int64_t r = std::max<int64_t>(from, 2); r <= to; ++r) {
    for (const Change& c : log.at(r)) {
      if (wants(c)) return fmt::format("{} missed revision {} ({})", describe(), r, c.key);
    }
  }
  return {};
}

std::string Watcher::same_event(const Change& change, const Event& event, int64_t revision) const {
  if (event.key != change.key || event.deleted == change.after.has_value()) {
    return fmt::format("{}{} instead of {}{}", event.deleted ? "-" : "", event.key, change.after ? "" : "-",
                       change.key);
  }
  KeyState deleted;
  deleted.mod = revision;
  if (event.state != change.after.value_or(deleted)) return event.key + " is not what was written";
  if (!request_.prev_kv) return event.before ? "a prev_kv that was not asked for" : "";
  if (event.before == change.before) return {};
  if (!event.before && event.before_compacted) return {};
  return fmt::format("the prev_kv of {} is {}, it was {}", event.key,
                     event.before ? fmt::format("of {}", event.before->mod) : "none",
                     change.before ? fmt::format("of {}", change.before->mod) : "none");
}

std::string Watcher::same(const ChangeLog& log, const Told& told) const {
  size_t n = 0;
  auto wrong = [&](const std::string& what) {
    return fmt::format("{} was told of revision {}: {}", describe(), told.revision, what);
  };
  if (told.revision < 2) return wrong("nothing can have happened");
  for (const Change& c : log.at(told.revision)) {
    if (!wants(c)) continue;
    if (n == told.events.size()) return wrong(fmt::format("{} is missing", c.key));
    if (std::string problem = same_event(c, told.events[n], told.revision); !problem.empty()) {
      return wrong(problem);
    }
    ++n;
  }
  return n == told.events.size() ? "" : wrong(fmt::format("{} is too much", told.events[n].key));
}

std::string Watcher::settle(const ChangeLog& log) {
  for (; !told_of_.empty() && told_of_.front().revision <= log.revision(); told_of_.pop_front()) {
    const Told& told = told_of_.front();
    if (told.kind == Told::Kind::kCompacted) {
      settled_ = std::max(settled_, told.revision);
      continue;
    }
    const bool progress = told.kind == Told::Kind::kProgress;
    std::string problem = nothing_between(log, settled_, progress ? told.revision : told.revision - 1);
    if (problem.empty() && !progress) problem = same(log, told);
    if (!problem.empty()) return problem;
    settled_ = told.revision + 1;
  }
  return {};
}

bool Watcher::complete(const ChangeLog& log) const {
  return next_ != 0 && settled() && nothing_between(log, settled_, log.revision()).empty();
}

}  // namespace quoin::scenarios
