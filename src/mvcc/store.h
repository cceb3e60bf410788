// The multi-version store: every change of a key is a record of its own revision.
//
// Threads: confined to the apply strand, except views().load() and what is read through a ReadView.
// Life of a batch on the apply strand:
//     WriteTxn& txn = store.begin();  txn.put(...); txn.delete_range(...);  store.end();     (per entry)
//     store.publish();                                                                       (per batch)
//     ... answers leave ...
//     while (store.maintain(budget)) post another one;                               (between batches)
// Nothing here blocks or posts; callbacks of the backend arrive on the apply strand.
//
// The newest state (between end() and publish()) is read on the apply strand with find_current() and through
// WriteTxn; everybody else reads what was published.
// Errors: per method; kCorruption from restore names the record.
// Source: spec api-semantics 2, storage-formats 2.3, 8; docs/decisions on the key index.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/blob.h"
#include "base/ids.h"
#include "base/metrics.h"
#include "base/result.h"
#include "mvcc/key_range.h"
#include "mvcc/lease_attachments.h"
#include "mvcc/range.h"
#include "mvcc/read_view.h"

namespace quoin::mvcc {

class KeyIndex;
class Store;
struct StoreProbe;

// What a compaction that ended left.
struct CompactionEnd {
  int64_t revision = -1;
  int64_t previous_compact_revision = -1;
  // Over the records between the two; empty if a record could not be read.
  std::optional<uint32_t> hash;
  // False if the compaction before had not ended when this one was asked for, or if this one was interrupted
  // by the end of a process: the hash then does not cover every record, and is not kept.
  bool hash_counts = false;
  uint64_t db_size = 0, db_size_in_use = 0;
};

// Is told of compactions, one at a time. A compaction that the end of the process interrupts does not finish.
// Threads: called on the apply strand, and within restore(). Must not call the store.
class CompactionObserver {
 public:
  virtual ~CompactionObserver() = default;
  virtual void compaction_started(int64_t revision) = 0;
  virtual void compaction_finished(const CompactionEnd& end) = 0;
};

struct StoreOptions {
  // How many compaction hashes are remembered.
  size_t compaction_hashes_max = 10;
  // May be null; outlives the store.
  CompactionObserver* compaction_observer = nullptr;
  // Called now and then while records are read at a start or replacement, with the revision come to. May be
  // null.
  std::function<void(int64_t revision)> reading;
  // Makes memory ready for the index (ChunkReserve). May be null: then it is made where it is needed.
  io::Executor* memory = nullptr;
  // Made to be adopted: restore() may run on any thread, and begins no compaction.
  bool beside = false;
};

// The marks a file holds, -1 where there is none. One that was scheduled but not finished is resumed.
struct CompactionMarks {
  int64_t finished = -1;
  int64_t scheduled = -1;
  bool resumed() const { return scheduled > finished; }
};

// One change of a finished transaction, in the order it was made; what watch matching works from.
struct Change {
  Revision revision;
  bool tombstone = false;
  Blob record;           // the encoded KeyValue; of a tombstone: with only the key
  std::string_view key;  // within `record`
};

struct PutRequest {
  std::string_view key;
  std::string_view value;
  LeaseId lease;              // 0: none, and an old one is detached
  bool ignore_value = false;  // keep the old value; the key must exist
  bool ignore_lease = false;  // keep the old lease; the key must exist
  bool prev_kv = false;
};
struct PutResult {
  Revision revision;
  // The encoded KeyValue before; empty if there was none or it was not asked for. Lives until Store::end().
  std::optional<std::string_view> prev_kv;
};

// The one open write transaction. All its changes carry one main revision; subs count changes in the order
// made.
class WriteTxn {
 public:
  // What a response header says now: the transaction's revision once it changed something, else the old one.
  int64_t revision() const;
  bool changed() const { return next_sub_ > 0; }

  // kKeyNotFound: ignore_value or ignore_lease on a missing key (nothing written).
  Result<PutResult> put(const PutRequest& request);
  // Deletes in key order; `prev` (if given) is called with the encoded KeyValue of each before the first one
  // goes; its bytes live until Store::end(). Once it has returned false it is not called again. Returns how
  // many were deleted. On an error (a record that cannot be read for `prev`) nothing was deleted. All in one
  // go: where the range may be large, use RangeDelete.
  Result<int64_t> delete_range(std::string_view key, std::string_view range_end, const KvVisitor& prev = {});
  // A Range that sees the changes made so far. The scan must be finished before the next change.
  Result<RangeScan> range(const RangeRequest& request);

 private:
  friend class Store;
  friend class RangeDelete;
  explicit WriteTxn(Store& store) : store_(store) {}
  struct Counts {
    uint64_t puts = 0, deletes = 0, ranges = 0;
    int64_t put_bytes = 0;
  };
  Result<std::string_view> record(const KeyMeta& meta);
  void append(Revision revision, bool tombstone, Blob record, size_t key_size);
  void erase_located(std::string_view key, bool has_lease);

  Store& store_;
  int64_t next_sub_ = 0;
  Counts counts_;
  // Views whose records this transaction handed out.
  std::vector<std::shared_ptr<const backend::View>> pinned_;
};

// WriteTxn::delete_range in steps of bounded work, which need not be in one task: the transaction stays open
// between them. Until it ends nothing else may be done with the store, while readers go on with what was
// published before. Other changes of the same transaction come before the first or after the last step.
//
//     RangeDelete range(store.begin(), key, range_end);
//     for (;;) { size_t keys = 1000; if (*range.step(&keys, prev)) break; /* another task goes on */ }
//     store.end();
class RangeDelete {
 public:
  RangeDelete(WriteTxn& txn, std::string key, std::string range_end);
  // Looks at no more than `*keys_left` keys, which it takes off, and deletes those that live; `prev` as in
  // WriteTxn::delete_range, for the keys of this step. True when the range is done. After an error this step
  // deleted nothing, but those before it did, and a transaction cannot be taken back. Once `prev` has been
  // handed `bytes_max` bytes the step ends, whatever keys are left.
  Result<bool> step(size_t* keys_left, const KvVisitor& prev = {}, size_t bytes_max = SIZE_MAX);
  int64_t deleted() const { return deleted_; }

 private:
  WriteTxn& txn_;
  std::string next_;  // where the next step begins
  const std::string range_end_;
  int64_t deleted_ = 0;
  bool wants_prev_ = true;  // `prev` has not returned false
  bool counted_ = false;    // the range that reads the values for `prev`
};

class Store {
 public:
  // Blocking: reads bucket `key` and the compaction marks, and attaches every live key that has a lease (in
  // key order). A compaction that had not finished is scheduled again. All references must outlive the store.
  static Result<std::unique_ptr<Store>> restore(backend::Backend& backend, LeaseAttachments& leases,
                                                metrics::Registry& metrics, const StoreOptions& options = {});
  ~Store();

  // ---- state ----
  int64_t revision() const { return revision_; }
  int64_t compact_revision() const { return compact_revision_; }
  // As restore() or replace() found them.
  const CompactionMarks& restored_marks() const { return restored_marks_; }
  // The key in its newest state, for compares and checks before a transaction (and within it).
  std::optional<KeyMeta> find_current(std::string_view key) const;
  // The record behind it; `hold` keeps the bytes alive.
  Result<std::string_view> record_current(const KeyMeta& meta, std::shared_ptr<const backend::View>* hold);
  // Visits the live keys of a range in key order, newest state; false stops.
  void for_each_current(std::string_view key, std::string_view range_end,
                        const std::function<bool(std::string_view key, const KeyMeta&)>& visit) const;
  // How many live keys a range holds, newest state; costs a descent or two. Not within a transaction.
  int64_t count_current(std::string_view key, std::string_view range_end) const;

  // ---- writing ----
  // One transaction at a time (CHECK). `end` returns the revision after it. A transaction may stay open over
  // several tasks, of a caller that publishes all that ended before; until its end publish() then returns
  // that view, so that a compaction that ends meanwhile shows nothing of it.
  WriteTxn& begin();
  int64_t end();

  // ---- metrics ----
  // A request read this many ranges outside a write transaction. Any thread.
  void count_ranges(size_t ranges);

  // ---- publishing ----
  // Makes everything ended so far visible to readers. Cheap when nothing changed. Within a transaction that
  // stays open over several tasks: what was published before it, unchanged.
  std::shared_ptr<const ReadView> publish();
  // True if something ended since the last publish().
  bool has_unpublished() const;
  // What the last publish() returned; null before the first.
  const std::shared_ptr<const ReadView>& published() const { return published_; }
  // The newest published view, for any thread. Lives as long as the store, and is never empty.
  const ViewCell& views() const { return views_; }

  // While on, the changes of ended transactions are collected, and take_changes() hands them over in `out`,
  // which is empty before. One taker: the watch table. A deque, since a million of them are neither moved nor
  // destroyed in one go.
  void collect_changes(bool on) { collect_changes_ = on; }
  void take_changes(std::deque<Change>* out);

  // ---- compaction ----
  // kCompacted, kFutureRev. On success reads below `revision` fail from the next publish() on; `scheduled`
  // runs once the mark is durable (the RPC may answer then), `finished` once the records are gone from the
  // file.
  Result<> compact(int64_t revision, std::function<void()> scheduled, std::function<void()> finished);
  // `idle` runs when the compactions asked for so far have finished; at once if there are none.
  void when_compactions_finished(std::function<void()> idle);
  // Index compaction and the freeing of what closed views held, at most about `budget` entries of it. True if
  // there is more to do right now. Call after batches, and on ticks for what an open view puts off. While a
  // transaction is open nothing is done.
  bool maintain(size_t budget);
  // The revision that the index is compacted to, and whether it has yet to be compacted further.
  int64_t index_compacted() const;
  bool index_compacting() const;

  // ---- the end ----
  // Before the backend is closed: gives back what the store holds of it. Views that readers still hold stay
  // readable; the newest one from now on knows the keys, and says kServerStopped where it is asked for a
  // value. Of the rest only views() and count_ranges() may be called afterwards.
  void close();

  // ---- replacement ----
  // Takes over all that `fresh` holds, which was restored beside this store (StoreOptions::beside) from another
  // backend (a received snapshot), and publishes it in views(). Compactions running on the old backend must
  // not call back any more: close it first. Who waited for them is told now. Open views of the old store stay
  // readable. Returns what this store held, to be destroyed where that may take long.
  std::unique_ptr<Store> adopt(std::unique_ptr<Store> fresh);

 private:
  friend class WriteTxn;
  friend class RangeDelete;
  struct Compaction;
  Store(backend::Backend& backend, LeaseAttachments& leases, metrics::Registry& metrics,
        const StoreOptions& options);
  Result<> load();
  void resume_compaction();
  Snapshot snapshot_now();
  const std::shared_ptr<const backend::View>& records_upto(Revision revision);
  void compaction_durable(int64_t revision);
  void start_compaction();
  bool compact_index(size_t budget);
  int64_t index_target() const;
  void compaction_finished();

  backend::Backend* backend_;
  LeaseAttachments& leases_;
  const StoreOptions options_;
  std::unique_ptr<StoreProbe> probe_;
  std::unique_ptr<KeyIndex> index_;
  int64_t revision_ = 1;
  int64_t compact_revision_ = -1;
  CompactionMarks restored_marks_;

  WriteTxn txn_{*this};
  bool txn_open_ = false;
  std::shared_ptr<const backend::View> records_;  // newest view taken from the backend
  Revision records_upto_;                         // all records up to here are in records_
  Revision appended_upto_;

  ViewCell views_;
  std::shared_ptr<const ReadView> published_;
  std::shared_ptr<const std::vector<CompactionHash>> hashes_;

  bool collect_changes_ = false;
  std::deque<Change> changes_;
  std::unique_ptr<Compaction> compaction_;
  // Guards callbacks of a backend that was replaced.
  std::shared_ptr<int> backend_alive_;
};

}  // namespace quoin::mvcc
