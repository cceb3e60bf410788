// The append strand: the WAL and the `.snap` files.
//
// Threads: post_* on any thread; everything else on the append executor. Completions of appends go to the
// raft stage, which makes them known to consensus. Bounds: raft hands over what it accepted. The server
// admits no more than AppendBacklog::kBytesMax that is not durable here.
// Source: spec storage-formats 3, 4; design.md section 5.
#pragma once
#include <deque>
#include <memory>
#include <string>

#include "base/log.h"
#include "io/timer.h"
#include "server/config.h"
#include "server/raft_stage.h"
#include "snap/snapshotter.h"
#include "wal/appender.h"

namespace quoin::server {

class AppendStage {
 public:
  AppendStage(const Config& config, io::FileSystem& fs, io::Executor& strand, io::TimerService& timers,
              io::Clock& clock, log::Logger& log, wal::Probe& wal_probe, wal::Tail tail,
              std::unique_ptr<snap::Snapshotter> snapshotter, RaftStage& raft,
              std::function<void(Error)> failed);
  ~AppendStage();

  void post_append(AppendBatch batch);
  // What a start made up (Bootstrapped): raft takes it for stable, and so hands it over only once it has changed. A
  // snapshot's record that no commit in the log reaches would count for nothing. Before anything else.
  void post_made_up(raft::HardState hard_state, std::vector<raft::Entry> entries, Task done);
  // `.snap` file, WAL record, release of what is older; `done` on `executor`.
  void post_snapshot(raft::Snapshot snapshot, io::Executor& executor, Task done);
  // The state machine is that of a received snapshot and its file durable: releases what is older.
  void post_snapshot_installed(raft::SnapshotMetadata meta);
  // A database that another member sends is written to a file of this name.
  std::string new_snapshot_path() { return snapshotter_->new_tmp_path(); }
  // The file is complete and synced: it becomes `<index>.snap.db`.
  void post_keep_snapshot(std::string path, Index index, io::Executor& executor,
                          absl::AnyInvocable<void(Result<>)> done);
  // Removes files that nobody needs any more, at once and then every 30 s.
  void post_start_purging();
  // Writes what is buffered and closes the log; `done` always runs, on `executor`. `hard_state`: of the last batch
  // posted. A received snapshot whose file is still being saved is dropped with all behind it, since none of it was
  // acknowledged. An error is logged: the member then ends as after a crash, losing nothing that was acknowledged.
  void post_close(raft::HardState hard_state, io::Executor& executor, Task done);

 private:
  void purge();
  void take(AppendBatch batch);
  void write(AppendBatch batch);
  void save_received(AppendBatch batch);
  void release(const raft::SnapshotMetadata& meta);

  const Config& config_;
  io::Executor& strand_;
  io::TimerService& timers_;
  log::Logger& log_;
  std::unique_ptr<snap::Snapshotter> snapshotter_;
  RaftStage& raft_;
  std::function<void(Error)> failed_;
  std::unique_ptr<wal::Appender> appender_;
  std::unique_ptr<io::Timer> purge_timer_;
  bool closed_ = false;
  bool saving_received_ = false;     // the `.snap` of a received snapshot is being written
  std::deque<AppendBatch> waiting_;  // behind it
  Index received_;                   // of the last one
};

}  // namespace quoin::server
