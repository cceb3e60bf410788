// The backend's half on the file strand: turns frozen segments into commits and does the maintenance between
// them. One engine operation at a time; a frozen segment goes before any maintenance, and a compaction's
// deletes travel in the segment's commit when both are due.
//
// Defragment copies while commits go on. The cursor says how far the copy has come in file order (bucket,
// key). A step copies what follows the cursor from the newest snapshot; a commit to the live file is repeated
// on the copy for keys at or before the cursor. So after each completed operation the copy equals the live
// file up to the cursor, and when the cursor has passed the last bucket the copy may take the file's place.
//
// Threads: file strand, except size(), size_in_use() and open_snapshots(), which any thread may call.
// Lifetime: completions hold it weakly: a FileSide that goes while an operation is under way (a simulated
// crash) hears no more of it.
#pragma once
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "backend/engine.h"
#include "backend/segment.h"
#include "backend/view.h"

namespace quoin::backend {

struct Committed {
  SnapshotRef snapshot;  // of the state now newest
  bool segment = false;  // the frozen segment is in it
};

class FileSide : public std::enable_shared_from_this<FileSide> {
 public:
  struct Env {
    Options options;
    io::FileSystem* fs;
    io::Executor* file;
    io::TimerService* timers;
    io::Clock* clock;
    log::Logger* log;
    std::shared_ptr<Probe> probe;
    // Runs a task on apply unless the backend is gone.
    std::function<void(Task)> to_apply;
    std::function<void(Committed)> committed;  // on file
    std::function<void(Error)> failed;         // on file, once
    std::function<void()> release;  // on apply: drop the snapshots it holds, the file is being closed
  };
  FileSide(Env env, std::unique_ptr<EngineFactory> factory, std::unique_ptr<Engine> engine);
  ~FileSide();
  FileSide(const FileSide&) = delete;
  FileSide& operator=(const FileSide&) = delete;

  // Before the strand runs: the state the file holds.
  SnapshotRef newest() const { return newest_; }

  void submit(FrozenSegment segment);  // none is pending
  void compact(int64_t revision, std::shared_ptr<Compactor> compactor, std::function<void()> done);
  void hash(std::function<void(Result<StateHash>)> done);
  void defragment(std::function<void(Result<>)> done);
  void close(std::function<void(Result<>)> done);

  uint64_t size() const { return size_.load(std::memory_order_relaxed); }
  uint64_t size_in_use() const { return in_use_.load(std::memory_order_relaxed); }
  uint64_t open_snapshots() const { return opener_.open_count(); }

 private:
  struct Compaction;
  struct Hash;
  struct Defrag;

  void run();
  void run_later();
  void run_between();
  void start_commit();
  void on_commit(Result<CommitTimes> result);
  void after_commit();
  void fail(const Error& error);
  void refresh();
  void warn_of_small_reservation();

  Result<> compaction_step(BatchBuilder& builder);
  void after_compaction_step();
  void hash_step();
  void defrag_step();
  void defrag_mirror();
  void defrag_swap();
  void defrag_sync_name();
  void end_defrag(Result<> result);
  void abandon_defrag(const Error& error);
  void defrag_step_failed(const Error& error);
  void drop_jobs(const Error& error);
  void finish_close();
  void close_engine();
  void drop_engine(Result<> result);

  const Env env_;
  std::unique_ptr<EngineFactory> factory_;
  std::shared_ptr<Engine> engine_;
  SnapshotOpener opener_;
  SnapshotRef newest_;

  bool busy_ = false;  // an operation is under way; its completion calls run()
  std::optional<Error> dead_;
  std::optional<FrozenSegment> pending_;
  std::unique_ptr<BatchBuilder> batch_;  // of the commit under way
  bool batch_has_segment_ = false;
  io::MonotonicNs commit_started_ = 0;
  bool maintenance_turn_ = false;  // a commit was made since the last step between commits

  std::unique_ptr<Compaction> compaction_;
  std::deque<std::unique_ptr<Hash>> hashes_;
  std::unique_ptr<Defrag> defrag_;
  std::function<void(Result<>)> close_done_;

  std::atomic<uint64_t> size_{0};
  std::atomic<uint64_t> in_use_{0};
};

}  // namespace quoin::backend
