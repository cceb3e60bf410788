// One pass over events: who wants them, with which values before them, in which messages. Both ways to a
// watcher go through here: what a batch changed, and what a watcher missed.
//
// A pass is fed events of ascending revisions, whole revisions only, and then asked to send each touched
// watcher its events as one response. Watchers that want the same events share one encoded tail, and so do the
// fragments of a response, which are slices of it. Nothing is encoded before somebody is about to be sent it;
// a caller whose sink has no room stops sending and calls clear().
//
// Threads: confined to its owner. Lifetime: the bytes of events and the targets must live until the next
// clear(); messages own their bytes.
// Memory: the tails of one pass, at most kTailBytesMax and one tail.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "mvcc/watch.h"
#include "mvcc/watch_events.h"
#include "mvcc/watcher_set.h"

namespace quoin::mvcc {

// A watcher as a pass sees it.
struct WatchTarget {
  uint64_t serial = 0;  // watchers are served in this order
  int64_t watch_id = 0;
  WatchFilter filter;
  int64_t next = 0;               // revision of the first event it has not been sent
  std::vector<uint32_t> matched;  // events of the pass, ascending
  size_t place = 0;               // the set's
  KeyRange range() const { return {filter.key, filter.range_end}; }
};
using TargetSet = WatcherSet<WatchTarget>;

class EventPass {
 public:
  using Emit = std::function<bool(const WatchMessage&)>;
  struct Response {
    int64_t header_revision = 0;
    size_t header_bytes = 0;    // encoded size of its header field
    size_t fragment_bytes = 0;  // from which on it is cut, for watchers that want that
  };

  // Takes up one event. Watchers of `set` whose `next` is above its revision or below `floor` are left out.
  // kCorruption, kIo: the value before it cannot be read.
  Result<> add(const TargetSet& set, const ReadView& view, const EventRef& event, int64_t floor);
  // The watchers that want some of the events, by serial.
  std::span<WatchTarget* const> touched();
  // Offers what `target` wants as one response. False if it was not taken: `refused`, if given, are its
  // messages. Of several only the first may be refused (CHECK).
  bool send(WatchTarget& target, const Response& response, const Emit& emit,
            std::vector<WatchMessage>* refused = nullptr);
  // Forgets events and targets.
  void clear();

  size_t events() const { return plain_.size(); }
  int64_t last_revision() const { return plain_.back().mod_revision; }
  int64_t revision_of(uint32_t event) const { return plain_[event].mod_revision; }
  // How often a watcher and an event have met, and how many values before events were read.
  size_t matches() const { return matches_; }
  size_t values_read() const { return values_read_; }
  size_t event_bytes() const { return event_bytes_; }      // of events that somebody wants
  size_t encoded_bytes() const { return encoded_bytes_; }  // by send(): shared tails count once

  static constexpr size_t kTailBytesMax = 16u << 20;

 private:
  // A tail is told by its events and whether it has the values before them.
  struct TailKeyView {
    bool prev_kv;
    std::span<const uint32_t> numbers;
  };
  struct TailKey {
    bool prev_kv;
    std::vector<uint32_t> numbers;
  };
  static TailKeyView view_of(const TailKeyView& key) { return key; }
  static TailKeyView view_of(const TailKey& key) { return {key.prev_kv, key.numbers}; }
  struct TailHash {
    using is_transparent = void;
    template <class Key>
    size_t operator()(const Key& key) const;
  };
  struct TailEqual {
    using is_transparent = void;
    template <class A, class B>
    bool operator()(const A& a, const B& b) const;
  };
  const std::vector<EventRef>& events_for(const WatchTarget& target) const {
    return target.filter.prev_kv ? with_prev_ : plain_;
  }
  std::span<const EventRef> pick(const WatchTarget& target);
  const Blob& tail(const WatchTarget& target);

  std::vector<EventRef> plain_, with_prev_;  // parallel; values before events where somebody asked for them
  std::vector<WatchTarget*> touched_;
  std::vector<EventRef> picked_;
  absl::flat_hash_map<TailKey, Blob, TailHash, TailEqual> tails_;
  size_t tail_bytes_ = 0;
  size_t matches_ = 0, values_read_ = 0, event_bytes_ = 0, encoded_bytes_ = 0;
};

// Offers the messages of one response. False if the first one was not taken; the others must be (CHECK).
bool emit_response(std::span<const WatchMessage> messages, const EventPass::Emit& emit);

}  // namespace quoin::mvcc
