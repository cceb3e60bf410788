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

void EventEncoder::measure(const EventRef& event) {
  size_ += event_field_bytes(event);
}
void EventEncoder::begin() {
  blob_ = Blob::make(size_, [this](char* out) { at_ = out; });
}
void EventEncoder::encode(const EventRef& event) {
  at_ = encode_event(event, at_);
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

ResponseCutter::ResponseCutter(const WatchMessage& head, size_t fragment_bytes, size_t header_bytes)
    : head_(head), rest_(head_.events.view()), fragment_bytes_(fragment_bytes), head_bytes_(header_bytes) {
  if (head.watch_id != 0) head_bytes_ += varint_field_bytes(kWatchId, static_cast<uint64_t>(head.watch_id));
  whole_ = head.event_count < 2 || head_bytes_ + head.events.size() < fragment_bytes;
  head_bytes_ += varint_field_bytes(kFragment, 1);
}

void ResponseCutter::add(size_t event_bytes) {
  if (count_ > 0 && head_bytes_ + size_ + event_bytes >= fragment_bytes_) close_part(true);
  size_ += event_bytes;
  ++count_;
}

void ResponseCutter::close_part(bool more) {
  WatchMessage& part = parts_.emplace_back(head_);
  part.fragment = more;
  part.event_count = count_;
  part.events = head_.events.slice(rest_.substr(0, size_));
  rest_.remove_prefix(size_);
  size_ = count_ = 0;
}

std::vector<WatchMessage> ResponseCutter::take() {
  close_part(false);
  return std::move(parts_);
}

}  // namespace quoin::mvcc
