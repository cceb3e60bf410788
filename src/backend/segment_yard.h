// Frees segments. A segment may hold a million records, and the last view of it may be dropped by a loop that
// answers clients. Large segments are therefore freed on the file strand, in steps.
//
// Threads: any. Lifetime: segments may outlive the backend, but then free themselves; close() comes before
// the executor's end.
#pragma once
#include <memory>
#include <mutex>
#include <vector>

#include "backend/segment.h"
#include "io/executor.h"

namespace quoin::backend {

class SegmentYard : public std::enable_shared_from_this<SegmentYard> {
 public:
  explicit SegmentYard(io::Executor& file) : file_(&file) {}

  std::shared_ptr<Segment> make();
  // From now on each segment is freed where its last view is dropped. Those that wait are freed in this call.
  void close();

  // Records freed in one task.
  static constexpr uint64_t kFreedPerTask = 4'000;

 private:
  void bury(std::unique_ptr<Segment> segment);
  void step();

  std::mutex mutex_;
  io::Executor* file_;                          // guarded by mutex_; null once closed
  std::vector<std::unique_ptr<Segment>> dead_;  // guarded by mutex_
  bool posted_ = false;                         // guarded by mutex_: a step is on its way
};

}  // namespace quoin::backend
