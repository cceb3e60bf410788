// Inside of a WatchTable. The public methods are in watch.cc, what a batch changed is sent in
// watch_publish.cc, and waiting watchers are advanced in watch_advance.cc.
//
// Threads: apply strand, as the WatchTable.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "mvcc/event_pass.h"
#include "mvcc/watch.h"
#include "mvcc/watch_probe.h"

namespace quoin::mvcc {

enum class WatcherState : uint8_t { kSynced, kCatchingUp, kWaiting, kDead };

struct WatchStream;

// `next` of a synced watcher may lie far behind: it moves when something is sent.
struct Watcher : WatchTarget {
  WatchStream* stream = nullptr;
  int64_t start_revision = 0;  // as requested
  WatcherState state = WatcherState::kWaiting;
  bool progress_notify = false;
  bool sent_since_tick = false;
};

struct WatchStream {
  StreamId id;
  WatchSink* sink = nullptr;
  std::map<int64_t, std::unique_ptr<Watcher>> watchers;
  std::set<int64_t> waiting;      // ids of watchers in that state
  int64_t waiting_from = 0;       // the next look at waiting watchers begins here, so that all get their turn
  std::multiset<int64_t> starts;  // start revisions in the future; past ones may be among them
  int64_t next_id = 0;
  bool blocked = false;  // the sink had no room
  bool catch_up_out = false;
  size_t synced = 0;
  bool closed = false;  // its sink is gone; its watchers are being freed
};

struct WatchTable::State {
  State(Store& s, metrics::Registry& metrics, const WatchOptions& o) : store(s), options(o), probe(metrics) {}

  Store& store;
  const WatchOptions options;
  WatchProbe probe;
  std::map<StreamId, std::unique_ptr<WatchStream>> streams;
  TargetSet synced;
  // What was published last and is being sent, revision by revision: matched, sent to one watcher after the
  // other, dropped. Between the steps nothing else is done with the table (flush() and finish()).
  // In kReplaced, watchers fall back after the store was replaced.
  enum class Sending : uint8_t { kNothing, kMatch, kSend, kDrop, kReplaced };
  Sending sending = Sending::kNothing;
  std::deque<Change> changes;
  EventPass pass;                          // empty but in the middle of this
  size_t matched = 0;                      // of `changes`, how many the pass has
  std::span<WatchTarget* const> to_serve;  // by the pass
  size_t served = 0;
  int64_t sent_before_replaced = 0;  // the revision up to which synced watchers have everything
  StreamId replaced_stream;          // where falling back goes on
  int64_t replaced_watcher = INT64_MIN;
  uint64_t work_max = 0;                             // of pass.work(), in this step
  std::deque<std::unique_ptr<WatchStream>> closing;  // closed ones that still have watchers
  uint64_t next_serial = 1;
  uint64_t next_stream = 1;
  std::shared_ptr<const ReadView> view;  // the newest published
  size_t alive = 0;                      // watchers in any state
  size_t slow = 0;                       // catching up or waiting

  WatchStream* find(StreamId id) {
    const auto it = streams.find(id);
    return it == streams.end() ? nullptr : it->second.get();
  }
  void set_state(Watcher& w, WatcherState state);
  void kill(Watcher& w);
  void remove(WatchStream& stream, Watcher& w);  // sets it dead and uncounts it
  void show();
  // Offers one message; a refusal blocks the stream.
  bool deliver(WatchStream& stream, const WatchMessage& m);

  // ---- watch_publish.cc ----
  bool publish_step();
  void publish();
  // Ends what publish_step() has begun.
  void finish() {
    while (sending != Sending::kNothing) publish_step();
  }
  void flush() {
    finish();
    if (store.has_unpublished() || store.published() != view) publish();
  }
  void match_revision();
  void send_revision();
  void drop_revision();
  // True once all have fallen back.
  bool fall_back_some();
  // Frees watchers of closed streams, at most so many. True if there are more.
  bool free_closed(size_t watchers);

  // ---- watch_advance.cc ----
  // Advances waiting watchers, at most kCatchUpWatchersMax of them. Afterwards the stream is blocked, or has
  // a CatchUp out, or has no watcher that waits.
  void advance(WatchStream& stream);
  // The same for these ones, which wait.
  void advance(WatchStream& stream, const std::vector<Watcher*>& some);
  std::vector<Watcher*> some_waiting(WatchStream& stream);
  void advance_inline(WatchStream& stream, const std::vector<Watcher*>& near);
  void start_catch_up(WatchStream& stream, const std::vector<Watcher*>& some);
  std::unique_ptr<CatchUp> make_catch_up(WatchStream& stream, const std::vector<Watcher*>& some);
};

}  // namespace quoin::mvcc
