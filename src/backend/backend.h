// What is durable of the state machine: the ten buckets of etcd's schema, kept in one file by an engine
// (bolt) that only this module knows.
//
// Apply writes memory, the file strand writes the file. Changes go into the active segment. freeze() makes it
// immutable together with the consistent index, term and ConfState of that moment, and hands it to the file
// strand, which turns it into exactly one commit. There is at most one active and one frozen segment; their
// bounds are kSegmentOps and kSegmentBytesMax, and while full() apply must stop taking entries.
//
// Threads: Backend is confined to the apply strand, except where a method says otherwise. A View is immutable
// and may be read on any thread; the bytes it hands out live as long as the View. Compactor::keep runs on the
// file strand.
// Errors: kCorruption names file, page and what is wrong with it; kIo and kNoSpaceOnDevice from a commit are
// fatal to the member (a failed sync promises nothing).
// Source: spec storage-formats 2, 6.1, 7, 8; design.md sections 1 and 5. Format: docs/formats/backend.md.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/blob.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "io/clock.h"
#include "io/executor.h"
#include "io/file.h"
#include "io/timer.h"

namespace quoin::backend {

enum class Bucket : uint8_t {
  kAlarm,
  kAuth,
  kAuthRoles,
  kAuthUsers,
  kCluster,
  kKey,
  kLease,
  kMembers,
  kMembersRemoved,
  kMeta,
};
constexpr int kBucketCount = 10;
std::string_view bucket_name(Bucket bucket);

// The key of a record in bucket `key`: 8 bytes main, '_', 8 bytes sub, and 't' for a tombstone.
class RevisionKey {
 public:
  RevisionKey() = default;  // empty
  RevisionKey(Revision revision, bool tombstone = false);
  std::string_view view() const { return {bytes_, size_}; }

 private:
  char bytes_[18];
  uint8_t size_ = 0;
};
struct ParsedRevisionKey {
  Revision revision;
  bool tombstone = false;
};
// kCorruption on a wrong length, separator or a negative number, with etcd's texts.
Result<ParsedRevisionKey> parse_revision_key(std::string_view key);

// Called with a record of bucket `key`; return false to stop.
using RecordVisitor = std::function<bool(Revision, bool tombstone, std::string_view value)>;
// Called with a key and value of another bucket; return false to stop.
using PairVisitor = std::function<bool(std::string_view key, std::string_view value)>;

// The revision bucket as of one moment: file and segments seen as one. Holding a View keeps its segments in
// memory and its pages from being reused.
class View {
 public:
  virtual ~View() = default;
  // Where the last record of a caller was, so that the next one is found sooner if it stands beside it.
  // Belongs to one caller and one View: a caller that goes on with another View begins a new one.
  struct Hint {
    const char* page = nullptr;
    size_t index = 0;
  };
  // The encoded KeyValue of the put at `revision`. kNotFound if there is no such record.
  Result<std::string_view> record(Revision revision) const { return record(revision, nullptr); }
  // The same with a hint, which may be null.
  virtual Result<std::string_view> record(Revision revision, Hint* hint) const = 0;
  // The same for up to kGroupMax revisions; record i goes to out[i]. Cheaper than one by one where they lie
  // apart in a large file.
  static constexpr size_t kGroupMax = 16;
  virtual Result<> records(std::span<const Revision> revisions, std::string_view* out) const {
    for (size_t i = 0; i < revisions.size(); ++i) {
      ASSIGN_OR_RETURN(out[i], record(revisions[i]));
    }
    return {};
  }
  // Records with revision in [from, to), ascending.
  virtual Result<> scan_records(Revision from, Revision to, const RecordVisitor& visit) const = 0;
};

// Decides record by record what a compaction keeps. Runs on the file strand.
class Compactor {
 public:
  virtual ~Compactor() = default;
  // Records come in revision order, each once, starting at (0,0); false: delete it.
  virtual bool keep(std::string_view revision_key, Revision revision, bool tombstone,
                    std::string_view value) = 0;
};

// The metric cells of a backend. One per process: whoever opens a second Backend (a received snapshot
// replaces the file) hands on the first one's, so that no cell is registered twice.
struct Probe;
// size() and size_in_use() of the Backend that used the probe last: for who may meet its replacement. Any
// thread.
uint64_t file_size(const Probe& probe);
uint64_t file_size_in_use(const Probe& probe);

struct Options {
  std::string path;  // .../member/snap/db
  int64_t batch_interval_ns = 100 * io::kMillisecond;
  uint64_t batch_limit = 10'000;           // operations
  uint64_t segment_bytes_max = 64u << 20;  // bound of one segment; at it full() holds
  // Address space for the file, which cannot grow beyond. Where the system has less, less is taken and a
  // warning logged; the commit that would outgrow it fails (kLimit) and with it the member.
  uint64_t map_bytes = 1ull << 40;
  bool unsafe_no_fsync = false;
  uint64_t compaction_batch_limit = 1000;  // records scanned per commit
  int64_t compaction_sleep_ns = 10 * io::kMillisecond;
  std::shared_ptr<Probe> probe;  // null: new cells are registered
};

// A consistent copy of the file being read out, as Maintenance.Snapshot and raft snapshots send it.
class SnapshotSource {
 public:
  virtual ~SnapshotSource() = default;
  virtual uint64_t size() const = 0;  // HWM * page size
  // Of the state in the copy, captured at the same moment: the index and term of the last entry in it, and
  // the ConfState (as set_conf_state was given it; empty if it never was).
  virtual Index consistent_index() const = 0;
  virtual Term consistent_term() const = 0;
  virtual const std::string& conf_state() const = 0;
  // The pairs of a bucket in the copy, for example of the members. Any thread.
  virtual Result<> scan(Bucket bucket, const PairVisitor& visit) const = 0;
  // Bytes [offset, offset + out.size()) of the stream (spec storage-formats 6.1). Any thread, one at a time.
  virtual Result<> read(uint64_t offset, std::span<char> out) const = 0;
};

// A hash over all buckets, and what it is a hash of.
struct StateHash {
  uint32_t hash = 0;
  int64_t newest_main = 0;  // main revision of the newest record in it; 0: none
};

class Backend {
 public:
  virtual ~Backend() = default;

  // Blocking. Opens or creates the file, makes missing buckets, takes the file lock. `fs` must be bound to
  // `file`. Refuses a damaged file by name. Metrics cells are registered in `metrics`.
  static Result<std::unique_ptr<Backend>> open(const Options& options, io::FileSystem& fs,
                                               io::Executor& apply, io::Executor& file,
                                               io::TimerService& timers, io::Clock& clock,
                                               metrics::Registry& metrics, log::Logger& log);

  // ---- writing (apply strand) ----
  // Appends a record; revisions must ascend.
  virtual void append(Revision revision, bool tombstone, Blob value) = 0;
  // Any bucket but kKey.
  virtual void put(Bucket bucket, std::string_view key, std::string_view value) = 0;
  virtual void erase(Bucket bucket, std::string_view key) = 0;
  // Taken into the next freeze. The index never goes down (CHECK), except by set_consistent_index_forced
  // (restore tools, received snapshots). May be called before or after the other changes of the entry: a
  // freeze falls between two tasks of apply, never within one, so all that a task changes is in one commit.
  virtual void set_consistent_index(Index index, Term term) = 0;
  // While held nothing is frozen: for an entry whose changes take several tasks (a configuration change,
  // which waits for raft). Short, since commits wait for the release. Not nested (CHECK); close() ends it.
  virtual void hold_freeze() {}
  virtual void release_freeze() {}
  virtual void set_conf_state(std::string_view json) = 0;
  // The same without the check.
  virtual void set_consistent_index_forced(Index index, Term term) = 0;
  // Consistent index (and its term) as of everything applied / as of the newest durable commit.
  virtual Index consistent_index() const = 0;
  virtual Term consistent_term() const = 0;
  virtual Index durable_index() const = 0;
  // True while the active segment is at a bound and not yet frozen: stop applying, end the task.
  virtual bool full() const = 0;
  // close() was called: nothing may be asked of it any more.
  virtual bool closing() const { return false; }
  // Runs on apply whenever full() turned false.
  virtual void set_not_full_callback(std::function<void()> callback) = 0;

  // ---- reading the newest state (apply strand) ----
  virtual std::optional<std::string> get(Bucket bucket, std::string_view key) const = 0;
  // Bucket::kKey is read through view(). Keys in [from, to); to empty: to the end. Segments are merged in.
  virtual Result<> scan(Bucket bucket, std::string_view from, std::string_view to,
                        const PairVisitor& visit) const = 0;
  // Everything appended so far. Cheap; call once per applied batch.
  virtual std::shared_ptr<const View> view() = 0;

  // ---- commits ----
  // Freezes what is there and runs `durable` on apply, as a task of its own, once everything written before
  // this call is on disk, the consistent index included. Where nothing changed no commit is made. Never
  // waits. Any number may be outstanding. After a failed commit it is dropped.
  virtual void commit(std::function<void()> durable) = 0;
  // Commits also run by themselves every batch interval or batch limit, where there are changes: a consistent
  // index that moved alone waits for the next commit. A failed commit ends here, on apply; nothing is
  // acknowledged after it and the member must stop.
  virtual void set_failure_callback(std::function<void(Error)> callback) = 0;
  // An entry could not be applied and has left a part of itself in the active segment: that segment is never
  // frozen, whatever asks for it, close() included. Who waits for a commit of it is dropped, as after a
  // failed commit; a segment that is frozen already still reaches the file. `why` is what close() reports.
  virtual void abandon(const Error& why) { (void)why; }

  // ---- maintenance (started from apply, run in steps on the file strand between commits) ----
  // Scans records of revisions <= `revision` that are in the file, in steps; deletes what `compactor` does
  // not keep; the last step puts finishedCompactRev = `revision` in the same commit. `done` runs on apply.
  // One at a time (CHECK). What was appended before this call is covered.
  virtual void compact(int64_t revision, std::shared_ptr<Compactor> compactor,
                       std::function<void()> done) = 0;
  // CRC-32C over all buckets without the keys excluded by spec 2.5, of the state durable after a commit that
  // covers everything written so far. Hash and revision are of one snapshot.
  virtual void hash(std::function<void(Result<StateHash>)> done) = 0;
  // Rewrites the file compactly and swaps it in; views stay valid. `done` on apply.
  virtual void defragment(std::function<void(Result<>)> done) = 0;
  // A copy that holds everything written so far, and what is written until the next freeze: the copy itself
  // says up to which entry (SnapshotSource). Changes go on meanwhile.
  virtual void snapshot(std::function<void(Result<std::shared_ptr<SnapshotSource>>)> done) = 0;

  // File sizes as etcd reports them (HWM * page size; without free pages). Any thread.
  virtual uint64_t size() const = 0;
  virtual uint64_t size_in_use() const = 0;
  virtual uint64_t open_read_transactions() const = 0;
  virtual std::shared_ptr<Probe> probe() const = 0;

  // Commits what is left (the consistent index too), stores what a clean stop stores, closes the file; `done`
  // on apply. Views that are still open stay readable, but then no freelist is saved and the next open walks
  // the file. Maintenance under way ends: compact() without its `done`, also if called now, the rest with kStopped.
  virtual void close(std::function<void(Result<>)> done) = 0;
};

}  // namespace quoin::backend
