#include "mvcc/event_pass.h"

#include <absl/hash/hash.h>

#include <algorithm>

#include "mvcc/key_value.h"

namespace quoin::mvcc {

template <class Key>
size_t EventPass::TailHash::operator()(const Key& key) const {
  const TailKeyView k = view_of(key);
  return absl::HashOf(k.prev_kv, absl::Span<const uint32_t>(k.numbers.data(), k.numbers.size()));
}

template <class A, class B>
bool EventPass::TailEqual::operator()(const A& a, const B& b) const {
  const TailKeyView x = view_of(a), y = view_of(b);
  return x.prev_kv == y.prev_kv &&
         std::equal(x.numbers.begin(), x.numbers.end(), y.numbers.begin(), y.numbers.end());
}

namespace {
// Work, in the unit of work().
constexpr uint64_t kEventWork = 2, kPreviousWork = 10, kMessageWork = 10;
constexpr size_t kBytesPerWork = 1'024, kNumbersPerWork = 64;
// From which on a watcher's list of events is not kept for the next pass.
constexpr size_t kMatchedKept = 1'024;
}  // namespace

EventPass::EventPass() = default;
EventPass::~EventPass() = default;

Result<> EventPass::add(const TargetSet& set, const ReadView& view, const EventRef& event, int64_t floor) {
  const auto number = static_cast<uint32_t>(events_.size());
  bool wanted = false, wants_prev = false;
  work_ += kEventWork;
  set.match(event.key, [&](WatchTarget& t) {
    ++work_;
    if (event.mod_revision < t.next || t.next < floor) return;
    if (event.tombstone ? t.filter.no_delete : t.filter.no_put) return;
    if (t.matched.empty()) {
      touched_.push_back(&t);
      sorted_ = false;
    }
    t.matched.push_back(number);
    ++matches_;
    wanted = true;
    wants_prev = wants_prev || t.filter.prev_kv;
  });
  events_.push_back(event);
  if (!wanted) return {};
  event_bytes_ += event.record.size();
  if (!wants_prev) return {};
  ++values_read_;
  EventRef& kept = events_[number];
  ASSIGN_OR_RETURN(kept.prev_kv, previous_record(view, event));
  work_ += kPreviousWork;
  if (kept.prev_kv) event_bytes_ += kept.prev_kv->size();
  return {};
}

std::span<WatchTarget* const> EventPass::touched() {
  if (!std::exchange(sorted_, true)) {
    std::sort(touched_.begin(), touched_.end(),
              [](const WatchTarget* a, const WatchTarget* b) { return a->serial < b->serial; });
    work_ += touched_.size();
  }
  return touched_;
}

// Makes the tail of the response being made. False: the work allowed is done.
bool EventPass::make_tail(const WatchTarget& target, uint64_t work_max) {
  Making& m = *making_;
  const std::vector<uint32_t>& numbers = target.matched;
  const TailKeyView key{target.filter.prev_kv, numbers};
  if (!m.encoder) {
    work_ += numbers.size() / kNumbersPerWork;
    if (const auto it = tails_.find(key); it != tails_.end()) {
      m.tail = it->second;
      return true;
    }
    m.encoder.emplace();
  }
  if (!m.sized) {
    for (; m.next < numbers.size(); ++m.next, ++work_) {
      if (work_ >= work_max) return false;
      m.encoder->measure(event_for(target, m.next));
    }
    m.encoder->begin();
    m.sized = true;
    m.next = 0;
  }
  for (; m.next < numbers.size(); ++m.next) {
    if (work_ >= work_max) return false;
    const EventRef event = event_for(target, m.next);
    m.encoder->encode(event);
    work_ += 1 + (event.record.size() + (event.prev_kv ? event.prev_kv->size() : 0)) / kBytesPerWork;
  }
  m.tail = m.encoder->take();
  if (tail_bytes_ > kTailBytesMax) {
    tails_.clear();
    tail_bytes_ = 0;
  }
  tail_bytes_ += m.tail.size();
  encoded_bytes_ += m.tail.size();
  work_ += numbers.size() / kNumbersPerWork;
  tails_.emplace(TailKey{key.prev_kv, numbers}, m.tail);
  return true;
}

EventPass::Sent EventPass::send(WatchTarget& target, const Response& response, const Emit& emit,
                                std::vector<WatchMessage>* refused, uint64_t work_max) {
  if (!making_) {
    making_.emplace();
    making_->target = &target;
  }
  DCHECK(making_->target == &target, "another response is being made");
  Making& making = *making_;
  WatchMessage m;
  m.watch_id = target.watch_id;
  m.header_revision = response.header_revision;
  m.event_count = target.matched.size();
  if (!making.cutter) {
    if (!make_tail(target, work_max)) return Sent::kMore;
    m.events = making.tail;
    if (target.filter.fragment) {
      making.cutter.emplace(m, response.fragment_bytes, response.header_bytes);
      making.next = 0;
    }
  }
  std::vector<WatchMessage> parts;
  bool taken;
  if (making.cutter && !making.cutter->whole()) {
    for (; making.next < target.matched.size(); ++making.next, ++work_) {
      if (work_ >= work_max) return Sent::kMore;
      making.cutter->add(event_field_bytes(event_for(target, making.next)));
    }
    parts = making.cutter->take();
    work_ += kMessageWork * parts.size();
    taken = emit_response(parts, emit);
  } else {
    work_ += kMessageWork;
    taken = emit(m);
    if (!taken && refused) parts.assign(1, std::move(m));
  }
  making_.reset();
  if (taken) return Sent::kTaken;
  if (refused) *refused = std::move(parts);
  return Sent::kRefused;
}

void EventPass::clear() {
  for (WatchTarget* t : touched_) {
    t->matched.clear();
    if (t->matched.capacity() > kMatchedKept) t->matched.shrink_to_fit();
  }
  work_ += touched_.size() + events_.size() / kNumbersPerWork;
  making_.reset();
  touched_.clear();
  sorted_ = true;
  events_.clear();
  tails_.clear();
  tail_bytes_ = matches_ = values_read_ = event_bytes_ = encoded_bytes_ = 0;
}

bool emit_response(std::span<const WatchMessage> messages, const EventPass::Emit& emit) {
  for (size_t i = 0; i < messages.size(); ++i) {
    const bool taken = emit(messages[i]);
    CHECK(taken || i == 0, "the rest of a fragmented response must be taken");
    if (!taken) return false;
  }
  return true;
}

}  // namespace quoin::mvcc
