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

// Encodes events one behind the other: each is measured, then each is encoded, in the same order. In as many
// steps as the caller likes.
class EventEncoder {
 public:
  void measure(const EventRef& event);
  // Allocates, once all are measured.
  void begin();
  void encode(const EventRef& event);
  size_t size() const { return size_; }
  // Once all are encoded.
  Blob take() { return std::move(blob_); }

 private:
  size_t size_ = 0;
  Blob blob_;
  char* at_ = nullptr;
};

// The KeyValue of the event's key as of mod_revision - 1, for prev_kv. Empty if it did not exist, if that
// revision is compacted in `view`, or if the event is a put that created the key.
Result<std::optional<std::string_view>> previous_record(const ReadView& view, const EventRef& event);

// Cuts a response, whose encoded `events` are head.events, into messages of fewer than `fragment_bytes`. The
// parts are slices of the one tail. `header_bytes` is the encoded size of the header. In as many steps as the
// caller likes.
class ResponseCutter {
 public:
  ResponseCutter(const WatchMessage& head, size_t fragment_bytes, size_t header_bytes);
  // It stays one message; nothing is to be added.
  bool whole() const { return whole_; }
  // The next event takes this many bytes of the tail (event_field_bytes).
  void add(size_t event_bytes);
  // Once all events were added.
  std::vector<WatchMessage> take();

 private:
  void close_part(bool more);
  const WatchMessage head_;
  std::string_view rest_;  // of the tail, behind the parts that are closed
  const size_t fragment_bytes_;
  size_t head_bytes_;
  bool whole_ = false;
  size_t size_ = 0, count_ = 0;  // of the open part
  std::vector<WatchMessage> parts_;
};

}  // namespace quoin::mvcc
