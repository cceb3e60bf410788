// Inside of a WatchTable. The public methods are in watch.cc, what a batch changed is sent in
// watch_publish.cc, and waiting watchers are brought on in watch_advance.cc.
//
// Threads: apply strand, as the WatchTable.
#pragma once
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
};

struct WatchTable::State {
  State(Store& s, metrics::Registry& metrics, const WatchOptions& o) : store(s), options(o), probe(metrics) {}

  Store& store;
  const WatchOptions options;
  WatchProbe probe;
  std::map<StreamId, std::unique_ptr<WatchStream>> streams;
  TargetSet synced;
  EventPass pass;  // empty between calls
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
  void publish();
  void flush() {
    if (store.has_unpublished() || store.published() != view) publish();
  }
  void send_revision(std::span<const Change> changes);

  // ---- watch_advance.cc ----
  // Brings waiting watchers on, at most kCatchUpWatchersMax of them. Afterwards the stream is blocked, or has a
  // CatchUp out, or has no watcher that waits.
  void advance(WatchStream& stream);
  // The same for these ones, which wait.
  void advance(WatchStream& stream, const std::vector<Watcher*>& some);
  std::vector<Watcher*> some_waiting(WatchStream& stream);
  void advance_inline(WatchStream& stream, const std::vector<Watcher*>& near);
  void start_catch_up(WatchStream& stream, const std::vector<Watcher*>& some);
  std::unique_ptr<CatchUp> make_catch_up(WatchStream& stream, const std::vector<Watcher*>& some);
};

}  // namespace quoin::mvcc
