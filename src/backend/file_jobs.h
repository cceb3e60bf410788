// The state of each maintenance job of FileSide. Private to file_side.cc and its siblings.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/file_side.h"

namespace quoin::backend {

struct FileSide::Compaction {
  int64_t revision;
  std::shared_ptr<Compactor> compactor;
  std::function<void()> done;
  std::string next;        // first key not yet scanned
  bool due = true;         // the pause is over
  bool in_commit = false;  // a step is part of the commit under way
  bool last = false;       // that step is the last
  uint64_t step_deletes = 0;
  io::MonotonicNs started = 0;
  io::MonotonicNs step_started = 0;
  std::unique_ptr<io::Timer> timer;
};

struct FileSide::Hash {
  std::function<void(Result<StateHash>)> done;
  SnapshotRef snapshot;
  io::MonotonicNs started = 0;
  uint32_t crc = 0;
  int64_t newest_main = 0;
  int bucket = 0;
  std::string next;  // in `bucket`; empty: its name is not hashed yet
};

struct FileSide::Defrag {
  std::function<void(Result<>)> done;
  std::string path;
  std::shared_ptr<Engine> copy;  // null before the first step
  io::MonotonicNs started = 0;
  uint64_t size_before = 0;
  uint64_t in_use_before = 0;
  // Everything before (bucket, last) and at it is copied. `last` empty: nothing of `bucket` yet.
  int bucket = 0;
  std::string last;
  // Of the step or repetition under way.
  SnapshotRef source;
  Batch batch;
  int bucket_after = 0;
  std::string last_after;
};

}  // namespace quoin::backend
