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

Result<std::optional<std::string_view>> previous_record(const ReadView& view, const EventRef& event) {
  const int64_t before = event.mod_revision - 1;
  if (before < view.compact_revision()) return std::optional<std::string_view>();
  if (!event.tombstone) {
    const auto kv = decode_key_value(event.record);
    if (kv && kv->create_revision == event.mod_revision) return std::optional<std::string_view>();
  }
  return view.get(event.key, before);
}

std::vector<WatchMessage> cut_response(const WatchMessage& head, std::span<const EventRef> events,
                                       size_t fragment_bytes, size_t header_bytes) {
  size_t head_bytes = header_bytes;
  if (head.watch_id != 0) head_bytes += varint_field_bytes(kWatchId, static_cast<uint64_t>(head.watch_id));
  if (events.size() < 2 || head_bytes + head.events.size() < fragment_bytes) return {head};
  head_bytes += varint_field_bytes(kFragment, 1);
  std::vector<WatchMessage> out;
  std::string_view rest = head.events.view();
  while (!events.empty()) {
    size_t n = 1, size = event_field_bytes(events[0]);
    while (n < events.size() && head_bytes + size + event_field_bytes(events[n]) < fragment_bytes) {
      size += event_field_bytes(events[n++]);
    }
    WatchMessage& part = out.emplace_back(head);
    part.fragment = n < events.size();
    part.event_count = n;
    part.events = head.events.slice(rest.substr(0, size));
    rest.remove_prefix(size);
    events = events.subspan(n);
  }
  return out;
}

}  // namespace quoin::mvcc
