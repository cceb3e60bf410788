// A file in bbolt's format, opened by one process: the file etcd calls `member/snap/db`. Valid for Go's bbolt
// after every commit.
//
// Commit: changed nodes go to pages that are free, together with all their ancestors (copy on write); then
// data sync, then the meta page that names the new root, then a second sync. A crash in between leaves the
// meta before. Pages a commit freed are used again once its meta is durable and no older ReadTx is open. New
// pages are the lowest free ones. The high-water mark (HWM) goes down over pages at the end that are free;
// the file is cut later, when no ReadTx and neither meta on disk reaches beyond the cut. Commits write
// "freelist: none"; only close() saves a list, and the first commit after an open with a saved list frees its
// pages.
//
// Threads: confined to the file thread (the executor the FileSystem is bound to), but ReadTxs may be read and
// dropped anywhere. One WriteTx at a time, and none while a commit runs (CHECK).
// Lifetime: `fs` outlives the Db. Destroying a Db drops lock and mapping unless ReadTxs still hold them. A
// commit that runs meanwhile stops where it is, as in a crash, and its `done` is never called. ReadTxs may
// outlive the Db.
// Errors: kLocked      another process (or handle) has the file open for writing
//         kCorruption  the file is damaged: names file, page and what is wrong
//         kLimit       the file outgrew the address space reserved for it
//         kIo, kNoSpaceOnDevice
// After a failed commit the Db is dead: what is on disk is unknown until it is opened again. Reading goes on
// from the last good commit; begin_write and commit answer the same error.
// Source: spec storage-formats 1.5 to 1.8, 1.11; design.md section 5 ("bolt").
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bolt/check.h"
#include "bolt/format.h"
#include "bolt/owner.h"
#include "bolt/read_tx.h"
#include "bolt/write_tx.h"
#include "io/file.h"

namespace quoin::bolt {

class Freelist;
class PageMap;
struct KeyRange;
struct CommitPlan;

struct Options {
  uint32_t page_size = 4096;  // of a new file; an existing one says its own
  // Address space for the mapping. Bounds the file's size: a commit that needs more fails with kLimit before
  // it writes anything. Less is taken where the system refuses (Stats::reserved_bytes), but no less than
  // twice the file's length and 256 MiB.
  uint64_t reserve_bytes = 1ull << 40;
  uint64_t growth_bytes = 16u << 20;  // the file grows to multiples of this
  // The file is cut when this much or more lies behind the next multiple of growth_bytes above all that needs
  // it. 0: never cut.
  uint64_t cut_slack_bytes = 64u << 20;
  // The most that one commit cuts off, since giving back much at once holds up the file thread; the commits
  // that follow cut the rest.
  uint64_t cut_bytes_max = 256u << 20;
  bool lower_hwm = true;
  bool create = true;      // make a missing file (written and synced; syncing the directory is the caller's)
  bool read_only = false;  // shared lock, begin_write fails with kUnsupported
  bool no_sync = false;    // a crash may lose or damage the file (--unsafe-no-fsync)
  bool prefault = false;   // read the file into memory at open
  // Walk the whole file at open also when a saved freelist makes that unnecessary (then only branch pages are
  // read, to see that no page is named twice or free; leaves are checked as they are read).
  bool check_all = false;
};

struct Stats {
  TxId txid;  // of the last durable commit
  uint32_t page_size = 0;
  uint64_t hwm_pages = 0;
  uint64_t free_pages = 0;
  uint64_t pending_pages = 0;  // freed, but a ReadTx or the last commit still needs them
  uint64_t open_readers = 0;
  uint64_t file_bytes = 0;      // length of the file
  uint64_t reserved_bytes = 0;  // what it may grow to: Options::reserve_bytes, or less
  bool freelist_saved = false;  // the file holds a freelist (nothing was committed since a clean close)
  // What etcd calls size and size in use. In use is what the newest commit reaches: a page it no longer needs
  // does not count, even while the page waits for a reader or for the next commit before it is used again.
  uint64_t size_bytes() const { return hwm_pages * page_size; }
  uint64_t size_in_use_bytes() const { return (hwm_pages - free_pages - pending_pages) * page_size; }
};

class Db {
 public:
  // Blocking. Without a saved freelist the whole file is walked and checked, as Go's bbolt does at every
  // open.
  static Result<std::unique_ptr<Db>> open(io::FileSystem& fs, const std::string& path,
                                          const Options& options = {});
  ~Db();
  Db(const Db&) = delete;
  Db& operator=(const Db&) = delete;

  // The state of the last durable commit (also while one is running).
  std::shared_ptr<const ReadTx> begin_read();
  // CHECK: no other WriteTx is open, no commit is running.
  Result<std::unique_ptr<WriteTx>> begin_write();

  // Builds the pages at once (tx's borrowed bytes may go when this returns), then writes and syncs
  // asynchronously; `done` runs as a task of the file executor, or at once if the pages could not be built.
  // An unchanged transaction still writes a meta, as bolt does: see WriteTx::changed().
  void commit(std::unique_ptr<WriteTx> tx, io::Completion done);
  // For start-up and tools.
  Result<> commit_blocking(std::unique_ptr<WriteTx> tx);

  // Ends a clean run. With save_freelist, and if no ReadTx is open, one more commit stores the list of free
  // pages, so that the next open need not walk the file. The Db takes no calls but stats() after this. With
  // nothing to write, `done` runs before close() returns.
  void close(bool save_freelist, io::Completion done);
  Result<> close_blocking(bool save_freelist);

  // Looks for what `page` is used for as of the last commit (owner.h). CHECK: no commit is running when it is
  // asked to step.
  OwnerSearch find_owner(PageId page) { return OwnerSearch(*this, page); }
  const PageMap& page_map() const { return *page_map_; }

  // The whole file compared with the freelist in memory; bolt's finding texts (check.h). Slow; tests and
  // tools.
  std::vector<std::string> check();

  Stats stats() const;
  const std::string& path() const;
  uint32_t page_size() const;
  bool commit_running() const { return commit_ != nullptr; }

 private:
  friend class OwnerSearch;
  struct Commit;
  Db(std::shared_ptr<Store> store, const Options& options, const Meta& meta);

  // ---- open.cc ----
  Result<> load(uint64_t slot);  // where the newest meta stands
  Result<> make_durable(uint64_t slot);
  Result<> load_saved_freelist();
  Result<> walk_branches();
  Result<> visit_branches(PageId id, size_t levels_below, KeyRange range, PageSet* seen);
  Result<> walk_for_free_pages(bool have_list);
  PageSet known_free() const;

  // ---- commit.cc ----
  Result<std::unique_ptr<CommitPlan>> build(WriteTx& tx, bool save_freelist);
  Result<> free_pages_of(const WriteTx& tx, CommitPlan* plan);
  Result<uint64_t> growth_for(PageId hwm) const;
  void submit(std::unique_ptr<CommitPlan> plan, io::Completion done);
  Result<> go_on(Commit& c);
  // Goes on to the next stage of `c` after the operations of the one before ended with `result`.
  static void advance(const std::shared_ptr<Commit>& c, Result<> result);
  void write_pages(const std::shared_ptr<Commit>& c);
  void end_commit(const std::shared_ptr<Commit>& c, Result<> result);
  Result<> run_blocking(std::unique_ptr<CommitPlan> plan);
  void publish(const CommitPlan& plan);
  // The length the file may be cut to now; 0 if it stays.
  uint64_t cut_to() const;

  const Options options_;
  std::shared_ptr<Store> store_;
  std::shared_ptr<ReaderTable> readers_;
  std::unique_ptr<Freelist> freelist_;
  std::unique_ptr<PageMap> page_map_;    // as of meta_
  std::vector<std::string> last_owner_;  // the bucket of the last page whose owner was found
  Meta meta_;                            // of the last durable commit
  PageId slot_hwm_[2];                   // HWM of the meta in each slot on disk; 0: the slot holds none
  uint64_t saved_list_pages_ = 0;        // of the list that meta_.freelist names
  uint64_t file_bytes_ = 0;
  std::shared_ptr<bool> write_open_;
  bool closed_ = false;
  std::optional<Error> dead_;
  std::shared_ptr<Commit> commit_;
};

}  // namespace quoin::bolt
