// Inside of a CatchUp, shared with the table that makes and takes back CatchUps.
#pragma once
#include <deque>
#include <string>
#include <vector>

#include "mvcc/watch.h"
#include "mvcc/watcher_set.h"

namespace quoin::mvcc {

// A watcher's part of a CatchUp.
struct CatchUp::Item {
  uint64_t serial = 0;  // of the watcher: its id may be taken by another one meanwhile
  int64_t watch_id = 0;
  WatchFilter filter;
  int64_t next = 0;  // revision of the first event it has not been sent
  bool forgotten = false;
  bool sent = false;              // an event went out
  std::vector<uint32_t> matched;  // events of the step under way
};

struct CatchUp::State {
  struct Outgoing {
    WatchMessage message;
    uint32_t item;
    int64_t first_revision;  // of its events
    bool continues;          // the rest of a fragmented response
  };
  explicit State(const WatchOptions& o, size_t header) : options(o), header_bytes_beside_revision(header) {}
  void add(Item item) { items.push_back(std::move(item)); }
  bool flush(const Emit& emit);
  Result<bool> scan(const ReadView& view, size_t records_max);

  const WatchOptions options;
  const size_t header_bytes_beside_revision;
  std::deque<Item> items;  // addresses must hold: the set points to them
  WatcherSet<Item> set;
  bool matching = false;  // the set is filled
  std::deque<Outgoing> out;
};

}  // namespace quoin::mvcc
