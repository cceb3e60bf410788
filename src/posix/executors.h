// Executors of the real machine (io/executor.h): a thread that may wait for disks, and a strand that owns no
// thread and runs in whoever hands it work.
//
// Why inline strands: five thread hops cost 65 us on an idle member; raft and apply therefore run in the
// thread that brings them something, so that an idle Put needs two hops (to the append thread and back).
//
// Rules of inline running:
//   - a strand posted to from inside another strand's task runs after that task, never nested in it;
//   - a DiskThread with more disk work queued runs no strand inline, the fallback executor does;
//   - after kStepBudget tasks in one go the rest moves to the fallback executor, so that no poster is held
//   up.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "io/executor.h"

namespace quoin::posix {

// A thread of its own. Tasks may block on disks. stop() runs what is queued, then joins.
class DiskThread final : public io::Executor {
 public:
  explicit DiskThread(std::string name);
  ~DiskThread() override;
  void post(Task task) override;
  bool running_here() const override;
  // Runs all queued tasks (and those they post), then ends the thread. Later posts are CHECKed.
  void stop();
  // True on a DiskThread's own thread while tasks wait behind the running one.
  static bool current_has_backlog();

 private:
  void run();
  const std::string name_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Task> queue_;  // guarded by mutex_
  bool stopping_ = false;    // guarded by mutex_
  size_t running_left_ = 0;  // of the batch being run; this thread only
  std::thread thread_;
};

class InlineStrand final : public io::Executor {
 public:
  // `fallback` outlives the strand.
  explicit InlineStrand(io::Executor& fallback) : fallback_(fallback) {}
  void post(Task task) override;
  bool running_here() const override;

 private:
  static constexpr int kStepBudget = 64;
  friend struct InlineRunner;
  // Runs up to kStepBudget tasks; true if the queue is then empty and the strand idle.
  bool drain();
  io::Executor& fallback_;
  std::mutex mutex_;
  std::vector<Task> queue_;  // guarded by mutex_
  bool active_ = false;      // guarded by mutex_: somebody runs or is about to run this strand
  std::atomic<std::thread::id> runner_{};
};

}  // namespace quoin::posix
