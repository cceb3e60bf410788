#include "mvcc/catch_up.h"

#include <algorithm>

#include "mvcc/key_value.h"
#include "mvcc/watch_events.h"
#include "wire/coding.h"

namespace quoin::mvcc {

CatchUp::CatchUp(StreamId stream, const WatchOptions& options, size_t header_bytes_beside_revision)
    : stream_(stream), state_(std::make_unique<State>(options, header_bytes_beside_revision)) {}
CatchUp::~CatchUp() = default;

void CatchUp::forget(int64_t watch_id) {
  for (Item& item : state_->items) {
    if (item.watch_id == watch_id) item.forgotten = true;
  }
  std::erase_if(state_->out, [&](const State::Outgoing& o) { return o.message.watch_id == watch_id; });
}

Result<CatchUp::Outcome> CatchUp::step(const ReadView& view, size_t records_max, const Emit& emit) {
  if (!state_->flush(emit)) return Outcome::kBlocked;
  ASSIGN_OR_RETURN(const bool at_end, state_->scan(view, records_max));
  if (!state_->flush(emit)) return Outcome::kBlocked;
  return at_end ? Outcome::kDone : Outcome::kMore;
}

bool CatchUp::State::flush(const Emit& emit) {
  while (!out.empty()) {
    const bool taken = emit(out.front().message);
    CHECK(taken || !out.front().continues, "the rest of a fragmented response must be taken");
    if (!taken) return false;
    items[out.front().item].sent = true;
    out.pop_front();
  }
  return true;
}

namespace {

// The events of one step, whose bytes live in the step's view.
struct Collected {
  std::vector<EventRef> plain;
  std::vector<EventRef> with_prev;  // parallel; filled where somebody asks for prev_kv
  std::vector<bool> has_prev;
};

bool is_create(std::string_view record, int64_t revision) {
  const auto kv = decode_key_value(record);
  return kv && kv->create_revision == revision;
}

}  // namespace

// Collects what the items have missed, as far as records_max and kCatchUpBytesMax allow, and makes messages
// of it. Whole revisions only. True if that was everything up to the view.
Result<bool> CatchUp::State::scan(const ReadView& view, size_t records_max) {
  if (!matching) {
    for (Item& item : items) set.add({item.filter.key, item.filter.range_end}, &item);
    matching = true;
  }
  // Items that compaction overtook are left to the table, which cancels them.
  int64_t from = view.revision() + 1;
  for (const Item& item : items) {
    if (!item.forgotten && item.next >= view.compact_revision()) from = std::min(from, item.next);
  }
  Collected events;
  size_t records = 0, bytes = 0;
  int64_t upto = view.revision();  // the last revision that is complete
  Result<> failed;
  auto visit = [&](Revision revision, bool tombstone, std::string_view value) {
    if ((records >= records_max || bytes >= kCatchUpBytesMax) && records > 0 &&
        revision.main != events.plain.back().mod_revision) {
      upto = revision.main - 1;
      return false;
    }
    const auto key = decode_key(value);
    if (!key) {
      failed = make_error(Code::kCorruption, "bucket key, revision {}_{}: {}", revision.main, revision.sub,
                          key.error().text());
      return false;
    }
    ++records;
    const auto number = static_cast<uint32_t>(events.plain.size());
    events.plain.push_back({revision.main, tombstone, value, *key, {}});
    bool wants_prev = false;
    set.match(*key, [&](Item& item) {
      if (item.forgotten || revision.main < item.next || item.next < view.compact_revision()) return;
      if (tombstone ? item.filter.no_delete : item.filter.no_put) return;
      item.matched.push_back(number);
      bytes += value.size();
      wants_prev = wants_prev || item.filter.prev_kv;
    });
    EventRef with_prev = events.plain.back();
    if (wants_prev) {
      const auto prev = previous_record(view, with_prev, !tombstone && is_create(value, revision.main));
      if (!prev) {
        failed = prev.error();
        return false;
      }
      with_prev.prev_kv = *prev;
      if (*prev) bytes += (*prev)->size();
    }
    events.with_prev.push_back(with_prev);
    return true;
  };
  if (from <= view.revision()) {
    TRY(view.parts().records->scan_records({from, 0}, {view.revision() + 1, 0}, visit));
    TRY(std::move(failed));
  }

  for (uint32_t i = 0; i < items.size(); ++i) {
    Item& item = items[i];
    const auto& source = item.filter.prev_kv ? events.with_prev : events.plain;
    std::vector<EventRef> response;
    int64_t revisions = 0;
    auto send = [&] {
      WatchMessage head;
      head.watch_id = item.watch_id;
      head.header_revision = view.revision();
      const size_t header =
          header_bytes_beside_revision + wire::varint_size(static_cast<uint64_t>(view.revision()));
      bool continues = false;
      for (WatchMessage& m :
           cut_response(head, response, item.filter.fragment, options.fragment_bytes, header)) {
        out.push_back({std::move(m), i, response.front().mod_revision, continues});
        continues = true;
      }
      response.clear();
      revisions = 0;
    };
    for (const uint32_t n : item.matched) {
      if (response.empty() || response.back().mod_revision != source[n].mod_revision) {
        if (revisions == kCatchUpRevisionsMax) send();
        ++revisions;
      }
      response.push_back(source[n]);
    }
    if (!response.empty()) send();
    item.matched.clear();
    if (item.next >= view.compact_revision()) item.next = std::max(item.next, upto + 1);
  }
  return upto == view.revision();
}

}  // namespace quoin::mvcc
