// Events in their encoded form: the `events` of a WatchResponse, and cutting them into fragments.
//
// Threads: free functions without state. Lifetime: an EventRef is a set of views.
// Source: spec api-semantics 3.2, 3.5; wire.md (Event, WatchResponse).
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/blob.h"
#include "base/result.h"
#include "mvcc/read_view.h"
#include "mvcc/watch.h"

namespace quoin::mvcc {

struct EventRef {
  int64_t mod_revision = 0;
  bool tombstone = false;
  std::string_view record;  // the encoded KeyValue; of a tombstone: with only the key
  std::string_view key;
  std::optional<std::string_view> prev_kv;  // encoded
};

// Bytes of one event as a field of WatchResponse, tag and length included.
size_t event_field_bytes(const EventRef& event);
Blob encode_events(std::span<const EventRef> events);

// The KeyValue of the event's key as of mod_revision - 1, for prev_kv. Empty if it did not exist, if that
// revision is compacted in `view`, or if the event is a put that created the key.
Result<std::optional<std::string_view>> previous_record(const ReadView& view, const EventRef& event);

// A response, whose encoded `events` are head.events, as its messages: one, or several if it reaches
// `fragment_bytes`. The parts are slices of the one tail. `header_bytes` is the encoded size of the header.
std::vector<WatchMessage> cut_response(const WatchMessage& head, std::span<const EventRef> events,
                                       size_t fragment_bytes, size_t header_bytes);

}  // namespace quoin::mvcc
