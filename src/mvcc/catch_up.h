// The state of a CatchUp, shared with the table that makes CatchUps and takes them back.
#pragma once
#include <deque>
#include <memory>
#include <vector>

#include "base/metrics.h"
#include "mvcc/event_pass.h"
#include "mvcc/watch.h"

namespace quoin::mvcc {

// What one step of a CatchUp may do. A pass over what was missed ends with the first revision that reaches
// these bounds; a revision that exceeds them takes several steps.
struct CatchUpBounds {
  size_t records = 0;  // looked at; a value before an event counts as one
  size_t bytes = 0;    // of events collected, and again of tails encoded
};

// A watcher's part of a CatchUp.
struct CatchUp::Item : WatchTarget {
  bool forgotten = false;
  bool sent = false;  // an event went out
};

struct CatchUp::State {
  State(const WatchOptions& o, size_t header, metrics::Counter& events)
      : options(o), header_bytes_beside_revision(header), events_sent(events) {}
  void add(Item item) { items.push_back(std::move(item)); }
  Result<Outcome> step(std::shared_ptr<const ReadView> newest, const CatchUpBounds& bounds, const Emit& emit);

  const WatchOptions options;
  const size_t header_bytes_beside_revision;
  metrics::Counter& events_sent;  // of the process: outlives every CatchUp
  std::deque<Item> items;         // addresses must hold: the set points to them
  Item* refused_item = nullptr;   // of the response below

 private:
  friend class CatchUp;
  void fill_set();
  bool send_refused(const Emit& emit);
  void begin_pass(std::shared_ptr<const ReadView> newest);
  void end_pass();
  Result<> collect(const CatchUpBounds& bounds);
  size_t end_of_response(const std::vector<uint32_t>& matched, size_t at) const;
  void begin_part(Item& item);
  Outcome send_collected(const CatchUpBounds& bounds, const Emit& emit);

  TargetSet set;
  bool set_filled = false;
  // The pass under way, over one or several steps.
  std::shared_ptr<const ReadView> view;  // null between passes
  EventPass pass;
  Revision at;             // where collecting goes on
  int64_t upto = 0;        // the last revision that the pass has, or will have, all of
  bool collected = false;  // all of it: now it is sent
  bool marked = false;     // items that want none of it are marked as up to date with it
  size_t served = 0;       // of the touched items
  bool serving = false;    // that one is being served
  // Of the item being served: its events, and which of them its `matched` holds while their response is sent.
  std::vector<uint32_t> wanted;
  size_t part_begin = 0, part_end = 0;
  uint64_t work_max = 0;  // of pass.work(), in this step
  // The one response that was not taken, as its messages; it is offered again before anything else is read.
  std::vector<WatchMessage> refused;
  int64_t refused_next = 0;  // the item's `next` once it is taken
};

}  // namespace quoin::mvcc
