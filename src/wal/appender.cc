#include "wal/appender.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "failpoint/failpoint.h"
#include "wal/group_encoder.h"
#include "wal/purger.h"
#include "wal/segment_supply.h"

namespace quoin::wal {
namespace {
constexpr int64_t kSlowSyncNs = io::kSecond;

// What an entry costs beside its data while it is queued; for queued_bytes().
constexpr uint64_t kEntryOverheadBytes = sizeof(raft::Entry) + 32;

double seconds(int64_t ns) {
  return static_cast<double>(ns) * 1e-9;
}
}  // namespace

// States of `stage_`, in the order one group of batches passes them:
//   kIdle ─ pump() ─► kWriting ─► kSyncing ─────────────────────────────► kIdle, acknowledge, pump()
//                         └─ segment full ─► kCutting (old truncated, synced; new taken, written, synced,
//                                            renamed; directory synced) ─► kIdle, ...
//   any ─ error ─► kFailed
class Appender::Impl {
 public:
  Impl(io::FileSystem& fs, io::Executor& executor, const io::Clock& clock, log::Logger& log, Probe& probe,
       AppenderOptions options, Tail tail, absl::AnyInvocable<void(Error)> on_failure)
      : fs_(fs),
        executor_(executor),
        clock_(clock),
        log_(log),
        probe_(probe),
        options_(options),
        tail_(std::move(tail)),
        on_failure_(std::move(on_failure)),
        encoder_(tail_.crc, tail_.hard_state, tail_.last_index),
        saved_state_(tail_.hard_state),
        uncommitted_change_(tail_.uncommitted_change),
        purger_(fs, executor, log, tail_.dir, std::move(tail_.older)),
        supply_(fs, executor, tail_.dir, options.segment_bytes) {
    CHECK(!tail_.segments.empty());
  }

  void save(const raft::HardState& hard_state, std::vector<raft::Entry> entries, Done done) {
    CHECK(!closing_);
    Batch batch;
    for (const raft::Entry& e : entries) batch.bytes += e.data.size() + kEntryOverheadBytes;
    batch.must_sync = !entries.empty();
    if (!entries.empty() && entries.front().index <= uncommitted_change_) uncommitted_change_ = {};
    for (const raft::Entry& e : entries) {
      if (e.type != raft::EntryType::kNormal) uncommitted_change_ = e.index;
    }
    if (!hard_state.empty()) {
      batch.must_sync |= hard_state.term != saved_state_.term || hard_state.vote != saved_state_.vote;
      // Until this commit is durable, the record counts for nothing.
      if (hard_state.commit >= uncovered_) batch.must_sync |= std::exchange(uncovered_, {}) > quoin::Index();
      // Whoever is left in the cluster must know that the others are gone, also in its next life.
      if (hard_state.commit >= uncommitted_change_) {
        batch.must_sync |= std::exchange(uncommitted_change_, {}) > quoin::Index();
      }
      batch.hard_state = saved_state_ = hard_state;
    }
    if (!entries.empty()) last_saved_ = entries.back().index;
    batch.entries = std::move(entries);
    batch.done = std::move(done);
    enqueue(std::move(batch));
  }

  void save_snapshot(SnapshotRecord record, Done done) {
    CHECK(!closing_);
    CHECK(!record.index || (record.conf_state && !record.conf_state->voters.empty()),
          "Saved (not-initial) snapshot is missing ConfState: {}", record.index);
    if (record.index > last_saved_) last_saved_ = record.index;
    if (record.index > saved_state_.commit) uncovered_ = record.index;
    Batch batch;
    batch.must_sync = true;
    batch.snapshot = std::move(record);
    batch.done = std::move(done);
    enqueue(std::move(batch));
  }

  void close(const raft::HardState& hard_state, Closed closed) {
    CHECK(!closing_);
    closing_ = true;
    closed_ = std::move(closed);
    if (stage_ == Stage::kFailed) return closed_with(failure_);
    Batch batch;
    batch.must_sync = true;
    if (!hard_state.empty()) batch.hard_state = saved_state_ = hard_state;
    batch.done = [this] { supply_.close([this] { closed_with({}); }); };
    enqueue(std::move(batch));
  }

  void release_lock_to(quoin::Index index) {
    CHECK(index <= saved_state_.commit, "no commit reaches the snapshot {} that the log is to begin with",
          index);
    size_t keep = 0;
    for (size_t i = 0; i < tail_.segments.size(); ++i) {
      if (tail_.segments[i].index < index) keep = i;
    }
    for (size_t i = 0; i < keep; ++i) purger_.add(std::move(tail_.segments[i].name));
    tail_.segments.erase(tail_.segments.begin(), tail_.segments.begin() + static_cast<ptrdiff_t>(keep));
  }

  void purge(size_t segments_max, io::Completion done) {
    purger_.purge(segments_max, tail_.segments.size(), tail_.segments.front().name, std::move(done));
  }

  uint64_t queued_bytes() const { return queued_bytes_; }
  std::optional<io::MonotonicNs> busy_since() const { return busy_since_; }
  quoin::Index last_index() const { return last_saved_; }
  std::vector<std::string> locked_segments() const {
    std::vector<std::string> out;
    for (const Tail::Segment& s : tail_.segments) out.push_back(s.name);
    return out;
  }

 private:
  enum class Stage { kIdle, kWriting, kSyncing, kCutting, kAcknowledging, kFailed };

  struct Batch {
    std::vector<raft::Entry> entries;
    raft::HardState hard_state;  // empty: none
    std::optional<SnapshotRecord> snapshot;
    uint64_t bytes = 0;
    bool must_sync = false;
    Done done;
  };

  io::File& file() { return *tail_.segments.back().file; }
  std::string path(std::string_view name) const { return fmt::format("{}/{}", tail_.dir, name); }

  void enqueue(Batch batch) {
    if (stage_ == Stage::kFailed) return;
    queued_bytes_ += batch.bytes;
    queue_.push_back(std::move(batch));
    pump();
  }

  // Begins the next group: all batches queued.
  void pump() {
    if (stage_ != Stage::kIdle || queue_.empty()) return;
    group_ = std::exchange(queue_, {});
    bool must_sync = false;
    for (const Batch& batch : group_) must_sync |= batch.must_sync;
    if (!must_sync) {
      // Commits that moved; the newest is written with the next group.
      for (const Batch& batch : group_) encoder_.keep(batch.hard_state);
      stage_ = Stage::kSyncing;
      return post([this] { acknowledge(); });
    }
    for (const Batch& batch : group_) {
      encoder_.add(batch.entries, batch.hard_state, batch.snapshot ? &*batch.snapshot : nullptr);
    }
    encoder_.finish();
    stage_ = Stage::kWriting;
    group_begun_ = clock_.monotonic();
    busy_since_ = group_begun_;
    if (encoder_.empty()) return written();  // close() with nothing new: what is in the file is synced
    file().async_write(tail_.offset, encoder_.parts(), on_ok([this] {
                         probe_.write_seconds.observe(seconds(clock_.monotonic() - group_begun_));
                         probe_.write_bytes.add(static_cast<double>(encoder_.bytes()));
                         tail_.offset += encoder_.bytes();
                         encoder_.clear();
                         written();
                       }));
  }

  void written() {
    if (tail_.offset >= options_.segment_bytes) return cut();
    stage_ = Stage::kSyncing;
    // What etcd still holds in memory here is written already: a process that ends may leave it, unacknowledged.
    FAILPOINT(walBeforeSync);
    sync_file(file(), &Impl::synced);
  }

  void synced() {
    FAILPOINT(walAfterSync);
    acknowledge();
  }

  // A completion that goes on with `next`, or fails; none once this is gone.
  template <class Next>
  io::Completion on_ok(Next next) {
    return [this, alive = std::weak_ptr<int>(alive_), next = std::move(next)](Result<> r) mutable {
      if (alive.expired()) return;
      if (!r) return fail(std::move(r).error());
      next();
    };
  }
  // Runs `next` as a task of its own.
  template <class Next>
  void post(Next next) {
    executor_.post([alive = std::weak_ptr<int>(alive_), next = std::move(next)]() mutable {
      if (!alive.expired()) next();
    });
  }

  // Syncs and goes on with `next`.
  void sync_file(io::File& file, void (Impl::*next)()) {
    if (options_.unsafe_no_fsync) return post([this, next] { (this->*next)(); });
    sync_begun_ = clock_.monotonic();
    file.async_sync(on_ok([this, next] {
      observe_sync();
      (this->*next)();
    }));
  }

  void observe_sync() {
    const int64_t took = clock_.monotonic() - sync_begun_;
    probe_.fsync_seconds.observe(seconds(took));
    if (took > kSlowSyncNs) {
      LOG(log_, kWarn, "slow fdatasync", {"took", log::Duration{took}},
          {"expected-duration", log::Duration{kSlowSyncNs}});
    }
  }

  void acknowledge() {
    std::vector<Batch> group = std::exchange(group_, {});
    for (const Batch& batch : group) queued_bytes_ -= batch.bytes;
    busy_since_.reset();
    // A completion may save: its batch waits until all of these have run.
    stage_ = Stage::kAcknowledging;
    for (Batch& batch : group) {
      if (batch.done) batch.done();
    }
    if (stage_ == Stage::kFailed) return;
    stage_ = Stage::kIdle;
    pump();
  }

  // ---- cut ----

  void cut() {
    stage_ = Stage::kCutting;
    file().async_truncate(tail_.offset, on_ok([this] { sync_file(file(), &Impl::cut_take); }));
  }

  void cut_take() {
    supply_.take([this](Result<SegmentSupply::Prepared> prepared) {  // supply_ is part of this
      if (!prepared) return fail(std::move(prepared).error());
      next_ = std::move(*prepared);
      encoder_.begin_segment(tail_.metadata.view());
      next_.file->async_write(0, encoder_.parts(), on_ok([this] {
                                probe_.write_bytes.add(static_cast<double>(encoder_.bytes()));
                                next_offset_ = encoder_.bytes();
                                encoder_.clear();
                                sync_file(*next_.file, &Impl::cut_rename);
                              }));
    });
  }

  void cut_rename() {
    const std::string name = segment_name(tail_.segments.back().sequence + 1, encoder_.last_index() + 1);
    fs_.async_rename(next_.path, path(name), on_ok([this, name] {
                       sync_begun_ = clock_.monotonic();
                       fs_.async_sync_dir(tail_.dir, on_ok([this, name] {
                                            observe_sync();
                                            cut_done(name);
                                          }));
                     }));
  }

  void cut_done(const std::string& name) {
    const uint64_t sequence = tail_.segments.back().sequence + 1;
    tail_.segments.push_back({name, sequence, encoder_.last_index() + 1, std::move(next_.file)});
    tail_.offset = next_offset_;
    LOG(log_, kInfo, "created a new WAL segment", {"path", path(name)});
    acknowledge();
  }

  void closed_with(Result<> result) {
    post([this, result = std::move(result)]() mutable {
      if (closed_) std::exchange(closed_, nullptr)(std::move(result));
    });
  }

  void fail(Error error) {
    if (stage_ == Stage::kFailed) return;
    stage_ = Stage::kFailed;
    failure_ = error;
    auto group = std::exchange(group_, {});
    auto queue = std::exchange(queue_, {});
    if (closing_) closed_with(error);
    if (on_failure_) std::exchange(on_failure_, nullptr)(std::move(error));
  }

  io::FileSystem& fs_;
  io::Executor& executor_;
  const io::Clock& clock_;
  log::Logger& log_;
  Probe& probe_;
  const AppenderOptions options_;
  Tail tail_;  // of what is written
  absl::AnyInvocable<void(Error)> on_failure_;

  GroupEncoder encoder_;
  raft::HardState saved_state_;                 // newest handed to save()
  quoin::Index last_saved_ = tail_.last_index;  // handed to save()
  quoin::Index uncovered_;                      // of a snapshot record beyond saved_state_.commit; 0: none
  quoin::Index uncommitted_change_;             // of the newest configuration change beyond it; 0: none

  Stage stage_ = Stage::kIdle;
  Result<> failure_;  // why kFailed
  bool closing_ = false;
  Closed closed_;
  std::vector<Batch> queue_;
  std::vector<Batch> group_;
  uint64_t queued_bytes_ = 0;
  io::MonotonicNs group_begun_ = 0, sync_begun_ = 0;
  std::optional<io::MonotonicNs> busy_since_;

  Purger purger_;
  SegmentSupply supply_;
  SegmentSupply::Prepared next_;
  uint64_t next_offset_ = 0;

  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

Appender::Appender(io::FileSystem& fs, io::Executor& executor, const io::Clock& clock, log::Logger& log,
                   Probe& probe, AppenderOptions options, Tail tail,
                   absl::AnyInvocable<void(Error)> on_failure)
    : impl_(std::make_unique<Impl>(fs, executor, clock, log, probe, options, std::move(tail),
                                   std::move(on_failure))) {}
Appender::~Appender() = default;

void Appender::save(const raft::HardState& hard_state, std::vector<raft::Entry> entries, Done done) {
  impl_->save(hard_state, std::move(entries), std::move(done));
}
void Appender::save_snapshot(SnapshotRecord record, Done done) {
  impl_->save_snapshot(std::move(record), std::move(done));
}
void Appender::release_lock_to(quoin::Index index) {
  impl_->release_lock_to(index);
}
void Appender::purge(size_t segments_max, io::Completion done) {
  impl_->purge(segments_max, std::move(done));
}
void Appender::close(const raft::HardState& hard_state, Closed closed) {
  impl_->close(hard_state, std::move(closed));
}
uint64_t Appender::queued_bytes() const {
  return impl_->queued_bytes();
}
std::optional<io::MonotonicNs> Appender::busy_since() const {
  return impl_->busy_since();
}
quoin::Index Appender::last_index() const {
  return impl_->last_index();
}
std::vector<std::string> Appender::locked_segments() const {
  return impl_->locked_segments();
}

}  // namespace quoin::wal
