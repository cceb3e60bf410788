// Which pages below the high-water mark may be written.
//
//   free      reachable from no meta that counts and no open reader: allocate() hands them out, lowest first
//   pending   freed by a commit, but needed by an open reader or, as long as that commit is not durable, by
//             the meta before it
//
// A page allocated by transaction A and freed by F is seen by readers with A <= txid < F. Each pending run
// waits for one such reader (the newest); when that has gone, the run looks for another one or becomes free.
// No new reader can turn up in [A, F): readers start from the durable meta, which is F or later by then. So a
// run is touched once per reader it waits for, however many commits go by.
//
// Threads: the file thread.
// Source: spec storage-formats 1.7.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "bolt/format.h"
#include "bolt/page_bits.h"
#include "bolt/page_runs.h"

namespace quoin::bolt {

class Freelist {
 public:
  // ---- at open ----
  // The page becomes free; false if it was.
  bool add_free(PageId id);

  // ---- per write transaction ----
  // The commit before is durable and `readers` (ascending) are open: pending pages none of them needs become
  // free.
  void release(const std::vector<TxId>& readers);
  // The lowest run of `count` free pages, now no longer free; empty if there is none.
  std::optional<PageId> allocate(uint64_t count);
  // For runs that allocate() or a raised HWM gave to transaction `txid`, while `readers` are open.
  void note_allocated(PageId first, TxId txid, bool readers_open);
  // Transaction `txid` no longer needs the run. False if one of the pages is free or pending already.
  bool free_run(PageId first, uint64_t count, TxId txid);
  // Drops free pages from the end of the file; answers the new HWM. Pending pages stop it.
  PageId trim(PageId hwm);

  uint64_t free_count() const { return free_count_; }
  uint64_t pending_count() const { return pending_count_; }
  bool is_free(PageId id) const { return free_.test(id); }
  bool is_pending(PageId id) const { return pending_.test(id); }
  // What allocate() looked at so far (page_runs.h), for tests.
  uint64_t search_steps() const { return free_.steps(); }
  // Allocations remembered for the sake of open readers, for tests.
  uint64_t remembered() const { return allocated_ids_; }
  // Free and pending pages, ascending: what a saved list holds.
  std::vector<PageId> all() const;

 private:
  struct Run {
    PageId first;
    uint64_t count;
    TxId allocated;  // 0: before any reader that is open
    TxId freed;
  };
  void place(const Run& run, const std::vector<TxId>& readers);
  void drop_freed_again();

  PageRuns free_;
  PageBits pending_;
  uint64_t free_count_ = 0, pending_count_ = 0;
  std::vector<Run> fresh_;                  // freed by the commit that is being written
  std::map<TxId, std::vector<Run>> waits_;  // for the reader of that txid
  // Allocating transactions of pages younger than the oldest open reader; older ones need none.
  absl::flat_hash_map<PageId, TxId> allocated_by_;
  // The same by txid, to forget them in order. Holds a page also when it was freed again since; such ones are
  // dropped when they outnumber the others, so that it stays bounded by the file while a reader stays open.
  std::deque<std::pair<TxId, std::vector<PageId>>> allocated_;
  uint64_t allocated_ids_ = 0;  // in allocated_
};

}  // namespace quoin::bolt
