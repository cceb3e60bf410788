// One thread, one seed: executors, timers and virtual time for a whole cluster.
//
// Model. Work is tasks and events.
//   - A task runs on an Executor. Tasks of one executor run in the order posted, one at a time, never inside
//     post(). Which executor with work runs next is drawn from the seed.
//   - An event happens at a moment of virtual time (a timer fires, a disk operation ends). Events of the same
//     moment happen in the order they were made.
//   - Each task takes `task_cost_ns` of virtual time. When no executor has work, time jumps to the next
//     event. Virtual time moves in no other way.
//   - A Process is what dies together: kill() drops its queued tasks and timers, and nothing of it runs
//     again; posting to its executors then drops the task. Its objects are the caller's to destroy, after
//     kill(). pause() keeps its tasks until resume().
// A run is a function of the seed and the program: nothing here depends on addresses, hashes or real time.
//
// Threads: one; everything is confined to the thread that made the World, so post() needs no lock here.
// Lifetime: the World outlives every disk made on it, and every object that posts to its executors.
// References to processes and executors stay valid as long as the World lives, also after kill().
#pragma once
#include <absl/functional/function_ref.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "base/task.h"
#include "io/clock.h"
#include "io/executor.h"
#include "io/loop.h"
#include "io/timer.h"

namespace quoin::sim {

class World;
class Process;

// An executor that also serves as a loop. A round ends when the loop has no task left, or after a task by
// draw: then what at_end_of_round() collected runs, before any other task of this loop.
class SimExecutor final : public io::Loop {
 public:
  void post(Task task) override;
  bool running_here() const override;
  void at_end_of_round(Task task) override;

  const std::string& name() const { return name_; }
  size_t queued() const { return queue_.size(); }
  Process& process() { return process_; }
  // After one of `one_in` tasks, on average, nothing else runs here for up to `max_ns`: blocking calls take no time of
  // their own. `one_in` 0 ends it. The draws are those of `prng` alone.
  void set_busy(Prng prng, uint64_t one_in, int64_t max_ns);

 private:
  friend class World;
  friend class Process;
  SimExecutor(World& world, Process& process, std::string name)
      : world_(world), process_(process), name_(std::move(name)) {}
  void run_one();
  void drop_all();
  void make_ready();

  World& world_;
  Process& process_;
  std::string name_;
  Prng busy_prng_{0};
  uint64_t busy_one_in_ = 0;
  int64_t busy_max_ns_ = 0;
  bool busy_ = false;
  std::deque<Task> queue_;
  std::deque<Task> end_of_round_;
  bool ready_ = false;  // in World::ready_
};

// The clock of one process. Starts equal to the world's; a rate and jumps of the wall clock may be set.
class SimClock final : public io::Clock {
 public:
  io::MonotonicNs monotonic() const override;
  io::WallNs wall() const override;
  // From now on this clock gains `ppm` microseconds each second (loses them if negative). Continuous.
  void set_drift_ppm(int64_t ppm);
  void jump_wall(int64_t ns) { wall_offset_ += ns; }

 private:
  friend class Process;
  explicit SimClock(World& world) : world_(world) {}
  int64_t to_world_delay(int64_t delay_ns) const;
  World& world_;
  int64_t drift_ppm_ = 0;
  io::MonotonicNs base_world_ = 0, base_own_ = 0;
  int64_t wall_offset_ = 0;
};

class Process final : public io::TimerService {
 public:
  ~Process() override;
  SimExecutor& executor(std::string name);
  SimClock& clock() { return clock_; }
  io::TimerService& timers() { return *this; }
  // Measured on this process's clock.
  [[nodiscard]] std::unique_ptr<io::Timer> schedule(int64_t delay_ns, io::Executor& executor,
                                                    Task task) override;

  // Ends it as SIGKILL would. Not to be called from one of its own tasks.
  void kill();
  bool alive() const { return alive_; }
  // As SIGSTOP: its tasks wait, and what is posted to it. Its clock goes on, and so does the disk. Not to be called
  // from one of its own tasks.
  void pause();
  void resume();
  bool paused() const { return paused_; }
  const std::string& name() const { return name_; }

 private:
  friend class World;
  Process(World& world, std::string name) : world_(world), clock_(world), name_(std::move(name)) {}
  World& world_;
  SimClock clock_;
  std::string name_;
  bool alive_ = true, paused_ = false;
  std::vector<std::unique_ptr<SimExecutor>> executors_;
};

struct WorldOptions {
  int64_t task_cost_ns = io::kMicrosecond;
  io::WallNs wall_start = 1'700'000'000 * io::kSecond;
};

class World {
 public:
  using Options = WorldOptions;
  explicit World(uint64_t seed, Options options = {});
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  uint64_t seed() const { return seed_; }
  Prng& prng() { return prng_; }
  io::MonotonicNs now() const { return now_; }
  io::WallNs wall_start() const { return options_.wall_start; }
  Process& start_process(std::string name);

  // Events outside any executor, for the simulated hardware and for test scripts.
  using EventKey = std::pair<io::MonotonicNs, uint64_t>;
  EventKey at(io::MonotonicNs when, Task task);
  EventKey after(int64_t delay_ns, Task task) { return at(now_ + delay_ns, std::move(task)); }
  void cancel(EventKey key) { events_.erase(key); }

  // One task, or one event. False: nothing is queued and no event is due ever.
  bool step();
  // Steps until `done` holds (true) or until `max_ns` of virtual time have passed or nothing is left (false).
  bool run_until(absl::FunctionRef<bool()> done, int64_t max_ns);
  // Lets `ns` pass.
  void run_for(int64_t ns);
  // Steps until nothing is left (true) or `max_ns` have passed (false: something goes on).
  bool run_idle(int64_t max_ns = 3600 * io::kSecond);
  uint64_t steps() const { return steps_; }

 private:
  friend class SimExecutor;
  friend class Process;
  uint64_t seed_;
  Prng prng_;
  Options options_;
  io::MonotonicNs now_ = 0;
  uint64_t next_event_ = 0;
  uint64_t steps_ = 0;
  std::map<EventKey, Task> events_;
  std::vector<SimExecutor*> ready_;
  SimExecutor* current_ = nullptr;
  std::vector<std::unique_ptr<Process>> processes_;
};

}  // namespace quoin::sim
