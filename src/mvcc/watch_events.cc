#include "mvcc/watch_events.h"

#include "mvcc/key_value.h"
#include "wire/coding.h"

namespace quoin::mvcc {

namespace {

// Field numbers of Event, KeyValue and WatchResponse.
constexpr uint32_t kType = 1, kKv = 2, kPrevKv = 3;
constexpr uint32_t kKey = 1, kModRevision = 3;
constexpr uint32_t kWatchId = 2, kFragment = 7, kEvents = 11;
constexpr uint64_t kDelete = 1;

size_t varint_field_bytes(uint32_t field, uint64_t v) {
  return wire::tag_size(field) + wire::varint_size(v);
}

// A deleted key's kv has only the key and the revision of the delete.
size_t deleted_kv_bytes(const EventRef& e) {
  return (e.key.empty() ? 0 : wire::length_delimited_size(kKey, e.key.size())) +
         varint_field_bytes(kModRevision, static_cast<uint64_t>(e.mod_revision));
}

size_t event_bytes(const EventRef& e) {
  size_t size = wire::length_delimited_size(kKv, e.tombstone ? deleted_kv_bytes(e) : e.record.size());
  if (e.tombstone) size += varint_field_bytes(kType, kDelete);
  if (e.prev_kv) size += wire::length_delimited_size(kPrevKv, e.prev_kv->size());
  return size;
}

char* encode_event(const EventRef& e, char* out) {
  out = wire::put_length_delimited_head(out, kEvents, event_bytes(e));
  if (e.tombstone) {
    out = wire::put_varint_field(out, kType, kDelete);
    out = wire::put_length_delimited_head(out, kKv, deleted_kv_bytes(e));
    if (!e.key.empty()) {
      out = wire::put_bytes(wire::put_length_delimited_head(out, kKey, e.key.size()), e.key);
    }
    out = wire::put_varint_field(out, kModRevision, static_cast<uint64_t>(e.mod_revision));
  } else {
    out = wire::put_bytes(wire::put_length_delimited_head(out, kKv, e.record.size()), e.record);
  }
  if (e.prev_kv) {
    out = wire::put_bytes(wire::put_length_delimited_head(out, kPrevKv, e.prev_kv->size()), *e.prev_kv);
  }
  return out;
}

}  // namespace

size_t event_field_bytes(const EventRef& event) {
  return wire::length_delimited_size(kEvents, event_bytes(event));
}

Blob encode_events(std::span<const EventRef> events) {
  size_t size = 0;
  for (const EventRef& e : events) size += event_field_bytes(e);
  return Blob::make(size, [&](char* out) {
    for (const EventRef& e : events) out = encode_event(e, out);
  });
}

Result<std::optional<std::string_view>> previous_record(const ReadView& view, const EventRef& event,
                                                        bool create) {
  const int64_t before = event.mod_revision - 1;
  if (create || before < view.compact_revision()) return std::optional<std::string_view>();
  return view.get(event.key, before);
}

std::vector<WatchMessage> cut_response(const WatchMessage& head, std::span<const EventRef> events,
                                       bool fragment, size_t fragment_bytes, size_t header_bytes) {
  std::vector<WatchMessage> out;
  auto add = [&](std::span<const EventRef> part, bool last) {
    out.push_back(head);
    out.back().fragment = !last;
    out.back().event_count = part.size();
    out.back().events = encode_events(part);
  };
  size_t head_bytes = header_bytes;
  if (head.watch_id != 0) head_bytes += varint_field_bytes(kWatchId, static_cast<uint64_t>(head.watch_id));
  if (fragment && events.size() > 1) {
    size_t total = head_bytes;
    for (const EventRef& e : events) total += event_field_bytes(e);
    fragment = total >= fragment_bytes;
  }
  if (!fragment || events.size() < 2) {
    add(events, true);
    return out;
  }
  head_bytes += varint_field_bytes(kFragment, 1);
  while (!events.empty()) {
    size_t n = 1, size = head_bytes + event_field_bytes(events[0]);
    while (n < events.size() && size + event_field_bytes(events[n]) < fragment_bytes) {
      size += event_field_bytes(events[n++]);
    }
    add(events.subspan(0, n), n == events.size());
    events = events.subspan(n);
  }
  return out;
}

}  // namespace quoin::mvcc
