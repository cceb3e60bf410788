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

Result<> EventPass::add(const TargetSet& set, const ReadView& view, const EventRef& event, int64_t floor) {
  const auto number = static_cast<uint32_t>(plain_.size());
  bool wanted = false, wants_prev = false;
  set.match(event.key, [&](WatchTarget& t) {
    if (event.mod_revision < t.next || t.next < floor) return;
    if (event.tombstone ? t.filter.no_delete : t.filter.no_put) return;
    if (t.matched.empty()) touched_.push_back(&t);
    t.matched.push_back(number);
    ++matches_;
    wanted = true;
    wants_prev = wants_prev || t.filter.prev_kv;
  });
  plain_.push_back(event);
  with_prev_.push_back(event);
  if (!wanted) return {};
  event_bytes_ += event.record.size();
  if (!wants_prev) return {};
  ++values_read_;
  ASSIGN_OR_RETURN(with_prev_.back().prev_kv, previous_record(view, event));
  if (with_prev_.back().prev_kv) event_bytes_ += with_prev_.back().prev_kv->size();
  return {};
}

std::span<WatchTarget* const> EventPass::touched() {
  std::sort(touched_.begin(), touched_.end(),
            [](const WatchTarget* a, const WatchTarget* b) { return a->serial < b->serial; });
  return touched_;
}

std::span<const EventRef> EventPass::pick(const WatchTarget& target) {
  const std::vector<EventRef>& all = events_for(target);
  picked_.clear();
  for (const uint32_t n : target.matched) picked_.push_back(all[n]);
  return picked_;
}

const Blob& EventPass::tail(const WatchTarget& target) {
  const TailKeyView key{target.filter.prev_kv, target.matched};
  if (const auto it = tails_.find(key); it != tails_.end()) return it->second;
  Blob encoded = encode_events(pick(target));
  if (tail_bytes_ > kTailBytesMax) {
    tails_.clear();
    tail_bytes_ = 0;
  }
  tail_bytes_ += encoded.size();
  encoded_bytes_ += encoded.size();
  return tails_.emplace(TailKey{key.prev_kv, target.matched}, std::move(encoded)).first->second;
}

bool EventPass::send(WatchTarget& target, const Response& response, const Emit& emit,
                     std::vector<WatchMessage>* refused) {
  WatchMessage m;
  m.watch_id = target.watch_id;
  m.header_revision = response.header_revision;
  m.event_count = target.matched.size();
  m.events = tail(target);
  // A rough test first; cut_response decides.
  constexpr size_t kRestOfHead = 32;
  if (target.filter.fragment && m.event_count > 1 &&
      response.header_bytes + kRestOfHead + m.events.size() >= response.fragment_bytes) {
    std::vector<WatchMessage> parts =
        cut_response(m, pick(target), response.fragment_bytes, response.header_bytes);
    if (emit_response(parts, emit)) return true;
    if (refused) *refused = std::move(parts);
    return false;
  }
  if (emit(m)) return true;
  if (refused) refused->assign(1, std::move(m));
  return false;
}

void EventPass::clear() {
  for (WatchTarget* t : touched_) t->matched.clear();
  touched_.clear();
  plain_.clear();
  with_prev_.clear();
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
