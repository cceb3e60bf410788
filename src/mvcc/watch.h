// Watches: who is told which changes, in which order, exactly once.
//
// A watcher is in one of four states:
//   synced       It has been sent everything up to the published revision. It is matched when apply publishes.
//   catching up  A CatchUp that runs on its stream's loop reads its past from views.
//   waiting      Neither of the two: its stream has a CatchUp out already, or had no room (a slow watcher).
//   dead         Compaction cancelled it. Its id stays taken until the client cancels it.
// Only apply moves a watcher to synced, when at most kSwitchRevisions are missing and those are no more than
// apply may read in one call; it sends them itself. A sink that has no room turns the watcher into a waiting
// one; nothing is buffered for it. So a stream costs memory for its watchers, for one CatchUp (at most one
// response that was refused) and for what its sink holds.
//
// Threads: WatchTable and WatchSink are confined to the apply strand. A CatchUp belongs to whoever holds it:
// apply makes it, the sink moves it to the loop, the loop posts it back to WatchTable::caught_up.
// Order: created, events, cancel and progress of a stream leave through its sink in order, catch_up()
// included. The loop must handle them in that order and write a CatchUp's messages straight to the stream.
// Then no event precedes its created message, and a progress message with revision R follows all events up
// to R.
// Source: spec api-semantics 3; design.md section 1 (Bytes, Bounds).
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/blob.h"
#include "base/ids.h"
#include "base/metrics.h"
#include "base/result.h"
#include "mvcc/read_view.h"
#include "mvcc/store.h"

namespace quoin::mvcc {

using StreamId = StrongId<struct WatchStreamTag, uint64_t>;

constexpr int64_t kSwitchRevisions = 256;    // gap that apply closes itself
constexpr size_t kCatchUpWatchersMax = 512;  // in one CatchUp
// What one step of a CatchUp does at most. About a millisecond of work. What a step read ends a response,
// unless that is in the middle of a revision, so these bounds are also those of a response of several
// revisions.
constexpr size_t kCatchUpStepRecords = 2'000;  // looked at; a value before an event counts as one
constexpr size_t kCatchUpStepMatches = 8'192;  // events times watchers that want them
constexpr size_t kCatchUpStepBytes = 1u << 20;
constexpr size_t kResponseRevisionsMax = 1'000;  // of one watcher, as in etcd
constexpr uint64_t kCatchUpStepWork = 10'000;    // in the unit of EventPass::work()
// What one step of a publication does at most, in the unit of EventPass::work(): half a millisecond or so.
constexpr uint64_t kPublishStepWork = 5'000;
constexpr size_t kWatchersPerTask = 1'000;  // that one call goes over, where each of a stream is to be
constexpr int64_t kStreamProgressId = -1;   // watch_id of the answer to a progress request

struct WatchRequest {
  std::string key;        // as received; empty means "\0"
  std::string range_end;  // as received: empty is the key alone, "\0" is open-ended
  int64_t start_revision = 0;
  int64_t watch_id = 0;  // 0: choose one
  bool progress_notify = false;
  bool prev_kv = false;
  bool fragment = false;
  bool no_put = false, no_delete = false;  // filters
};

// One WatchResponse. Encode head fields (header with `header_revision`, watch_id, created, canceled,
// compact_revision, cancel_reason, fragment), then append `events`.
struct WatchMessage {
  int64_t watch_id = 0;
  int64_t header_revision = 0;
  bool created = false;
  bool canceled = false;
  bool fragment = false;
  int64_t compact_revision = 0;
  std::string cancel_reason;
  Blob events;  // `events` (field 11), encoded; shared between all watchers that are sent the same
  size_t event_count = 0;
  bool progress() const { return !created && !canceled && event_count == 0; }
};

class CatchUp;

// A stream's way to its client, as seen from apply. The queue behind it is the server's.
// Its methods must not call back into the WatchTable.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  // Created and cancel messages. Must be taken; what bounds them is the number of requests the server lets
  // in.
  virtual void control(WatchMessage message) = 0;
  // Events and progress. False: no room, nothing was taken; call WatchTable::has_room when there is room
  // again. What follows a message with `fragment` set is the rest of the same response and must be taken.
  virtual bool deliver(const WatchMessage& message) = 0;
  // Runs behind everything sent so far. Must be taken; one per stream at a time.
  virtual void catch_up(std::unique_ptr<CatchUp> work) = 0;
  // Encoded bytes of the `header` field (tag and length included) for this revision, for cutting fragments.
  virtual size_t header_bytes(int64_t header_revision) const = 0;
};

struct WatchOptions {
  // Encoded size of a response from which a fragmenting watcher's response is cut: --max-request-bytes + 512
  // KiB.
  size_t fragment_bytes = 1572864 + 524288;
};

// What a watcher is sent, without who it is.
struct WatchFilter {
  std::string key, range_end;  // range_end empty: the key alone; "\0": open-ended
  bool prev_kv = false, fragment = false, no_put = false, no_delete = false;
};

// Reads the past for watchers of one stream. Between steps it holds a view only within a pass: while one
// revision that exceeds the bounds of a step is read, or its response made. It never holds one while it is
// blocked.
class CatchUp {
 public:
  enum class Outcome : uint8_t {
    kMore,     // call step again
    kBlocked,  // `emit` had no room; call step again when it has
    kDone,     // up to date with the view of this step: post it back to WatchTable::caught_up
  };
  ~CatchUp();
  StreamId stream() const { return stream_; }
  // Reads at most `records_max` records of `view` (the newest one; never older than the last step's), or goes
  // on with the pass under way, and does no more than the bounds above allow. Messages go to `emit` in order;
  // after false from it, which says that the message was not taken, nothing more is read: the next step
  // offers that response again, first of all. What follows a message with `fragment` set must be taken.
  // Errors: kCorruption, kIo from the backend.
  using Emit = std::function<bool(const WatchMessage&)>;
  Result<Outcome> step(std::shared_ptr<const ReadView> view, size_t records_max, const Emit& emit);
  // Nothing can be written for a while: gives the view back, and what was read of the pass under way.
  void let_go();
  // The cancel message of this watcher has gone out: emit nothing for it any more.
  void forget(int64_t watch_id);

 private:
  friend class WatchTable;
  struct Item;
  struct State;
  CatchUp(StreamId stream, std::unique_ptr<State> state);
  StreamId stream_;
  std::unique_ptr<State> state_;
};

class WatchTable {
 public:
  // `store` must outlive the table.
  WatchTable(Store& store, metrics::Registry& metrics, const WatchOptions& options = {});
  ~WatchTable();

  // Per batch, instead of store.publish(): publishes, then matches and sends what the batch changed. The
  // answers of the batch may leave afterwards.
  std::shared_ptr<const ReadView> publish();
  // The same in steps of about a millisecond, each in a task of its own: the first one publishes, all of them
  // match and send. True once everything is sent; not before may the answers of the batch leave, and the next
  // entry be applied. Other calls that come between two steps do the rest at once, so their callers wait.
  bool publish_step();

  // `sink` must live until close_stream.
  StreamId open_stream(WatchSink& sink);
  // Ends all watchers of the stream. A CatchUp that is out may simply be dropped. The sink is not used any
  // more, while maintain() frees what goes beyond kWatchersPerTask watchers.
  void close_stream(StreamId stream);
  // Frees a bounded part of what closed streams left. True if there is more.
  bool maintain();

  // All of the following publish first if something is unpublished.
  // `denied` is asked with key and range_end at its place in the order of checks (spec 3.1); it returns the
  // cancel_reason if the caller may not read the range. The outcome goes to the sink.
  using Denied = std::function<std::optional<std::string>(std::string_view key, std::string_view range_end)>;
  void create(StreamId stream, const WatchRequest& request, const Denied& denied = {});
  // An unknown id is passed over in silence.
  void cancel(StreamId stream, int64_t watch_id);
  // The client's progress request: answered if every watcher of the stream is synced, else dropped.
  void request_progress(StreamId stream);
  // The stream's tick for watchers with progress_notify: those with ids from `from` on, at most
  // kWatchersPerTask of them. Returns where the next call goes on, if there are more.
  std::optional<int64_t> progress_tick(StreamId stream, int64_t from = INT64_MIN);

  // The sink can take events again.
  void has_room(StreamId stream);
  // A CatchUp is done. Ignored if the stream is gone.
  void caught_up(std::unique_ptr<CatchUp> work);
  // The store was replaced by a received snapshot: synced watchers fall back to catching up. That is done in steps,
  // which publish_step() takes until it returns true.
  void store_replaced();

  size_t watchers() const;
  size_t slow_watchers() const;  // not synced, not dead

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quoin::mvcc
