#include "mvcc/catch_up.h"

#include <algorithm>

#include "mvcc/key_value.h"
#include "wire/coding.h"

namespace quoin::mvcc {

CatchUp::CatchUp(StreamId stream, std::unique_ptr<State> state) : stream_(stream), state_(std::move(state)) {}
CatchUp::~CatchUp() = default;

void CatchUp::forget(int64_t watch_id) {
  State& s = *state_;
  for (Item& item : s.items) {
    if (item.watch_id != watch_id || item.forgotten) continue;
    item.forgotten = true;
    if (s.set_filled) s.set.remove(item.range(), &item);
    if (s.refused_item == &item) {
      s.refused.clear();
      s.refused_item = nullptr;
    }
  }
}

Result<CatchUp::Outcome> CatchUp::step(const ReadView& view, size_t records_max, const Emit& emit) {
  return state_->step(view, {std::min(records_max, kCatchUpStepRecords), kCatchUpStepBytes}, emit);
}

void CatchUp::State::fill_set() {
  if (std::exchange(set_filled, true)) return;
  for (Item& item : items) {
    if (!item.forgotten) set.add(item.range(), &item);
  }
}

Result<CatchUp::Outcome> CatchUp::State::step(const ReadView& view, const CatchUpBounds& bounds,
                                              const Emit& emit) {
  fill_set();
  if (!send_refused(emit)) return Outcome::kBlocked;
  const auto upto = collect(view, bounds);
  if (!upto) {
    pass.clear();
    return upto.error();
  }
  const Outcome outcome = send_collected(view, *upto, bounds, emit);
  pass.clear();
  return outcome;
}

bool CatchUp::State::send_refused(const Emit& emit) {
  if (!refused_item) return true;
  if (!emit_response(refused, emit)) return false;
  for (const WatchMessage& m : refused) events_sent.inc(m.event_count);
  refused_item->next = refused_next;
  refused_item->sent = true;
  refused_item = nullptr;
  refused.clear();
  return true;
}

// Feeds the pass what the items have missed, as far as the bounds allow. Returns the last revision that it
// has all of.
Result<int64_t> CatchUp::State::collect(const ReadView& view, const CatchUpBounds& bounds) {
  // Items that compaction overtook are left to the table, which cancels them.
  const int64_t floor = view.compact_revision();
  int64_t from = view.revision() + 1;
  for (const Item& item : items) {
    if (!item.forgotten && item.next >= floor) from = std::min(from, item.next);
  }
  int64_t upto = view.revision();
  if (from > upto) return upto;
  Result<> failed;
  auto visit = [&](Revision revision, bool tombstone, std::string_view value) {
    const bool full = pass.events() + pass.values_read() >= bounds.records ||
                      pass.event_bytes() >= bounds.bytes || pass.matches() >= kCatchUpStepMatches;
    if (full && pass.events() > 0 && revision.main != pass.last_revision()) {
      upto = revision.main - 1;
      return false;
    }
    const auto key = decode_key(value);
    if (!key) {
      failed = make_error(Code::kCorruption, "bucket key, revision {}_{}: {}", revision.main, revision.sub,
                          key.error().text());
      return false;
    }
    failed = pass.add(set, view, {revision.main, tombstone, value, *key, {}}, floor);
    return failed.has_value();
  };
  TRY(view.parts().records->scan_records({from, 0}, {view.revision() + 1, 0}, visit));
  TRY(std::move(failed));
  return upto;
}

// Where the response ends that begins with `matched[at]`.
size_t CatchUp::State::end_of_response(const std::vector<uint32_t>& matched, size_t at) const {
  if (matched.size() - at <= kResponseRevisionsMax) return matched.size();
  size_t revisions = 1;
  size_t end = at + 1;
  for (; end < matched.size(); ++end) {
    if (pass.revision_of(matched[end]) == pass.revision_of(matched[end - 1])) continue;
    if (revisions++ == kResponseRevisionsMax) break;
  }
  return end;
}

CatchUp::Outcome CatchUp::State::send_collected(const ReadView& view, int64_t upto,
                                                const CatchUpBounds& bounds, const Emit& emit) {
  const EventPass::Response response{
      view.revision(),
      header_bytes_beside_revision + wire::varint_size(static_cast<uint64_t>(view.revision())),
      options.fragment_bytes};
  for (Item& item : items) {
    if (item.matched.empty() && item.next >= view.compact_revision()) {
      item.next = std::max(item.next, upto + 1);
    }
  }
  // What is left unsent at a return is read again by the next step: an item's `next` tells how far it is.
  for (WatchTarget* target : pass.touched()) {
    if (pass.encoded_bytes() >= bounds.bytes) return Outcome::kMore;
    auto& item = static_cast<Item&>(*target);
    const std::vector<uint32_t> all = item.matched;
    for (size_t at = 0; at < all.size();) {
      const size_t end = end_of_response(all, at);
      const int64_t next = end == all.size() ? upto + 1 : pass.revision_of(all[end - 1]) + 1;
      item.matched.assign(all.begin() + static_cast<ptrdiff_t>(at),
                          all.begin() + static_cast<ptrdiff_t>(end));
      if (!pass.send(item, response, emit, &refused)) {
        refused_item = &item;
        refused_next = next;
        return Outcome::kBlocked;
      }
      events_sent.inc(end - at);
      item.next = next;
      item.sent = true;
      at = end;
    }
  }
  return upto == view.revision() ? Outcome::kDone : Outcome::kMore;
}

}  // namespace quoin::mvcc
