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
    s.pass.forget(item);
    if (s.refused_item == &item) {
      s.refused.clear();
      s.refused_item = nullptr;
    }
  }
}

void CatchUp::let_go() {
  state_->end_pass();
}

Result<CatchUp::Outcome> CatchUp::step(std::shared_ptr<const ReadView> view, size_t records_max,
                                       const Emit& emit) {
  return state_->step(std::move(view), {std::min(records_max, kCatchUpStepRecords), kCatchUpStepBytes}, emit);
}

void CatchUp::State::fill_set() {
  if (std::exchange(set_filled, true)) return;
  for (Item& item : items) {
    if (!item.forgotten) set.add(item.range(), &item);
  }
}

Result<CatchUp::Outcome> CatchUp::State::step(std::shared_ptr<const ReadView> newest,
                                              const CatchUpBounds& bounds, const Emit& emit) {
  fill_set();
  if (!send_refused(emit)) return Outcome::kBlocked;
  if (!view) begin_pass(std::move(newest));
  work_max = pass.work() + kCatchUpStepWork;
  Outcome outcome = Outcome::kMore;
  if (!collected) {
    if (auto r = collect(bounds); !r) {
      end_pass();
      return r.error();
    }
    if (!collected) return Outcome::kMore;
  }
  if (pass.work() < work_max) outcome = send_collected(bounds, emit);
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

void CatchUp::State::begin_pass(std::shared_ptr<const ReadView> newest) {
  view = std::move(newest);
  // Items that compaction overtook are left to the table, which cancels them.
  int64_t from = view->revision() + 1;
  for (const Item& item : items) {
    if (!item.forgotten && item.next >= view->compact_revision()) from = std::min(from, item.next);
  }
  upto = view->revision();
  at = {from, 0};
  collected = from > upto;
  served = 0;
}

void CatchUp::State::end_pass() {
  pass.clear();
  wanted.clear();
  part_begin = part_end = 0;
  collected = marked = serving = false;
  view.reset();
}

// Feeds the pass what the items have missed, as far as the bounds allow: whole revisions, up to `upto`. One
// that exceeds the bounds goes on with the next step.
Result<> CatchUp::State::collect(const CatchUpBounds& bounds) {
  const int64_t floor = view->compact_revision();
  const size_t read_before = pass.events() + pass.values_read(), bytes_before = pass.event_bytes();
  bool stopped = false;
  Result<> failed;
  auto visit = [&](Revision revision, bool tombstone, std::string_view value) {
    const size_t read = pass.events() + pass.values_read();
    const bool full =
        read >= bounds.records || pass.event_bytes() >= bounds.bytes || pass.matches() >= kCatchUpStepMatches;
    if (full && pass.events() > 0 && revision.main != pass.last_revision()) {
      upto = revision.main - 1;
      return false;
    }
    if (read - read_before >= bounds.records || pass.event_bytes() - bytes_before >= bounds.bytes ||
        pass.work() >= work_max) {
      at = revision;
      stopped = true;
      return false;
    }
    const auto key = decode_key(value);
    if (!key) {
      failed = make_error(Code::kCorruption, "bucket key, revision {}_{}: {}", revision.main, revision.sub,
                          key.error().text());
      return false;
    }
    failed = pass.add(set, *view, {revision.main, tombstone, value, *key, {}}, floor);
    return failed.has_value();
  };
  TRY(view->parts().records->scan_records(at, {view->revision() + 1, 0}, visit));
  TRY(std::move(failed));
  collected = !stopped;
  return {};
}

// Where the response ends that begins with `matched[at]`.
size_t CatchUp::State::end_of_response(const std::vector<uint32_t>& matched, size_t at) const {
  const auto span = static_cast<uint64_t>(pass.revision_of(matched.back()) - pass.revision_of(matched[at]));
  if (span < kResponseRevisionsMax) return matched.size();
  size_t revisions = 1;
  size_t end = at + 1;
  for (; end < matched.size(); ++end) {
    if (pass.revision_of(matched[end]) == pass.revision_of(matched[end - 1])) continue;
    if (revisions++ == kResponseRevisionsMax) break;
  }
  return end;
}

// Gives the item the events of its next response.
void CatchUp::State::begin_part(Item& item) {
  part_end = end_of_response(wanted, part_begin);
  item.matched.assign(wanted.begin() + static_cast<ptrdiff_t>(part_begin),
                      wanted.begin() + static_cast<ptrdiff_t>(part_end));
}

CatchUp::Outcome CatchUp::State::send_collected(const CatchUpBounds& bounds, const Emit& emit) {
  const int64_t revision = view->revision();
  const EventPass::Response response{
      revision, header_bytes_beside_revision + wire::varint_size(static_cast<uint64_t>(revision)),
      options.fragment_bytes};
  if (!std::exchange(marked, true)) {
    for (Item& item : items) {
      if (item.matched.empty() && item.next >= view->compact_revision()) {
        item.next = std::max(item.next, upto + 1);
      }
    }
  }
  const size_t encoded_before = pass.encoded_bytes();
  for (const std::span<WatchTarget* const> targets = pass.touched(); served < targets.size(); ++served) {
    auto& item = static_cast<Item&>(*targets[served]);
    if (!std::exchange(serving, true)) wanted.swap(item.matched);
    while (part_begin < wanted.size() && !item.forgotten) {
      if (pass.encoded_bytes() - encoded_before >= bounds.bytes || pass.work() >= work_max) {
        return Outcome::kMore;
      }
      if (part_end <= part_begin) begin_part(item);
      const int64_t next = part_end == wanted.size() ? upto + 1 : pass.revision_of(wanted[part_end - 1]) + 1;
      const size_t events = part_end - part_begin;
      switch (pass.send(item, response, emit, &refused, work_max)) {
        case EventPass::Sent::kMore:
          return Outcome::kMore;
        case EventPass::Sent::kRefused:
          // What is left unsent is read again later: an item's `next` tells how far it is.
          refused_item = &item;
          refused_next = next;
          end_pass();
          return Outcome::kBlocked;
        case EventPass::Sent::kTaken:
          events_sent.inc(events);
          item.next = next;
          item.sent = true;
          part_begin = part_end;
      }
    }
    part_begin = part_end = 0;
    wanted.clear();
    serving = false;
  }
  end_pass();
  return upto == revision ? Outcome::kDone : Outcome::kMore;
}

}  // namespace quoin::mvcc
