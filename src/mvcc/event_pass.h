// One pass over events: who wants them, with which values before them, in which messages. Both ways to a
// watcher go through here: what a batch changed, and what a watcher missed.
//
// A pass is fed events of ascending revisions, whole revisions only, and then asked to send each touched
// watcher its events as one response. Watchers that want the same events share one encoded tail, and so do
// the fragments of a response, which are slices of it. Nothing is encoded before somebody is about to be sent
// it; a caller whose sink has no room stops sending and calls clear().
//
// One revision may have a million events, and its response is one message all the same. So a pass may go over
// many tasks: work() counts what it has done, the caller stops between two events when that is enough, and
// send() stops by itself within a response.
//
// Threads: confined to its owner. Lifetime: the bytes of events and the targets must live until the next
// clear(); messages own their bytes.
// Memory: the tails of one pass, at most kTailBytesMax and one tail.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "mvcc/chunk_list.h"
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
  enum class Sent : uint8_t {
    kTaken,
    kRefused,
    kMore,  // the work allowed is done: call again with the same target
  };

  EventPass();
  ~EventPass();

  // Takes up one event. Watchers of `set` whose `next` is above its revision or below `floor` are left out.
  // kCorruption, kIo: the value before it cannot be read.
  Result<> add(const TargetSet& set, const ReadView& view, const EventRef& event, int64_t floor);
  // The watchers that want some of the events, by serial. Valid until the next add() or clear().
  std::span<WatchTarget* const> touched();
  // Offers what `target` wants as one response, unless work() comes to `work_max` before. If it was not
  // taken, `refused`, if given, are its messages. Of several only the first may be refused (CHECK).
  Sent send(WatchTarget& target, const Response& response, const Emit& emit,
            std::vector<WatchMessage>* refused = nullptr, uint64_t work_max = UINT64_MAX);
  // The target is to be sent nothing. It stays among those touched; a response of it that is being made is
  // dropped.
  void forget(const WatchTarget& target) {
    if (making_ && making_->target == &target) making_.reset();
  }
  // Forgets events and targets.
  void clear();

  size_t events() const { return events_.size(); }
  int64_t last_revision() const { return events_[events_.size() - 1].mod_revision; }
  int64_t revision_of(uint32_t event) const { return events_[event].mod_revision; }
  // How often a watcher and an event have met, and how many values before events were read.
  size_t matches() const { return matches_; }
  size_t values_read() const { return values_read_; }
  size_t event_bytes() const { return event_bytes_; }      // of events that somebody wants
  size_t encoded_bytes() const { return encoded_bytes_; }  // by send(): shared tails count once
  // What has been done since the pass was made, in units of roughly a tenth of a microsecond. Never goes
  // back.
  uint64_t work() const { return work_; }
  // Counts something small that the caller did for the pass.
  void count_passed_over() { ++work_; }

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
  // A response that is being made.
  struct Making {
    const WatchTarget* target;
    Blob tail;                            // whole once it is here
    std::optional<EventEncoder> encoder;  // until then
    size_t next = 0;                      // place in `matched` that is sized, encoded or cut next
    bool sized = false;
    std::optional<ResponseCutter> cutter;
  };
  EventRef event_for(const WatchTarget& target, size_t place) const {
    EventRef e = events_[target.matched[place]];
    if (!target.filter.prev_kv) e.prev_kv.reset();
    return e;
  }
  bool make_tail(const WatchTarget& target, uint64_t work_max);

  ChunkList<EventRef> events_;  // with the values before them, where somebody asked for these
  std::vector<WatchTarget*> touched_;
  bool sorted_ = true;
  std::optional<Making> making_;
  absl::flat_hash_map<TailKey, Blob, TailHash, TailEqual> tails_;
  size_t tail_bytes_ = 0;
  size_t matches_ = 0, values_read_ = 0, event_bytes_ = 0, encoded_bytes_ = 0;
  uint64_t work_ = 0;
};

// Offers the messages of one response. False if the first one was not taken; the others must be (CHECK).
bool emit_response(std::span<const WatchMessage> messages, const EventPass::Emit& emit);

}  // namespace quoin::mvcc
