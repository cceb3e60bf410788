#include "sim/world.h"

#include <algorithm>

#include "base/check.h"

namespace quoin::sim {

// ---- SimExecutor ----

void SimExecutor::post(Task task) {
  if (!process_.alive()) return;
  queue_.push_back(std::move(task));
  make_ready();
}

void SimExecutor::make_ready() {
  if (ready_ || busy_ || queue_.empty() || process_.paused() || !process_.alive()) return;
  ready_ = true;
  world_.ready_.push_back(this);
}

void SimExecutor::set_busy(Prng prng, uint64_t one_in, int64_t max_ns) {
  busy_prng_ = prng;
  busy_one_in_ = one_in;
  busy_max_ns_ = max_ns;
}

bool SimExecutor::running_here() const {
  return world_.current_ == this;
}

void SimExecutor::at_end_of_round(Task task) {
  CHECK(running_here());
  end_of_round_.push_back(std::move(task));
}

void SimExecutor::run_one() {
  SimExecutor* const outer = std::exchange(world_.current_, this);
  {
    Task task = std::move(queue_.front());
    queue_.pop_front();
    task();
  }
  if (!end_of_round_.empty() && (queue_.empty() || world_.prng_.chance(1, 2))) {
    while (!end_of_round_.empty()) {
      Task task = std::move(end_of_round_.front());
      end_of_round_.pop_front();
      task();
    }
  }
  world_.current_ = outer;
  if (busy_one_in_ != 0 && process_.alive() && busy_prng_.chance(1, busy_one_in_)) {
    busy_ = true;
    const auto busy_ns = static_cast<int64_t>(busy_prng_.below(static_cast<uint64_t>(busy_max_ns_)));
    world_.at(world_.now() + busy_ns, [this] {
      busy_ = false;
      make_ready();
    });
  }
}

void SimExecutor::drop_all() {
  // Destroying a task may destroy objects that post; alive() is false by then.
  while (!queue_.empty() || !end_of_round_.empty()) {
    auto queue = std::exchange(queue_, {});
    auto round = std::exchange(end_of_round_, {});
  }
}

// ---- SimClock ----

io::MonotonicNs SimClock::monotonic() const {
  const int64_t passed = world_.now() - base_world_;
  return base_own_ + passed + static_cast<int64_t>(static_cast<__int128>(passed) * drift_ppm_ / 1'000'000);
}

io::WallNs SimClock::wall() const {
  return world_.wall_start() + monotonic() + wall_offset_;
}

void SimClock::set_drift_ppm(int64_t ppm) {
  CHECK_GT(ppm, -1'000'000);
  base_own_ = monotonic();
  base_world_ = world_.now();
  drift_ppm_ = ppm;
}

int64_t SimClock::to_world_delay(int64_t delay_ns) const {
  // Rounded up: a timer never fires before its own clock says so.
  const __int128 rate = 1'000'000 + drift_ppm_;
  return static_cast<int64_t>((static_cast<__int128>(delay_ns) * 1'000'000 + rate - 1) / rate);
}

// ---- Process ----

namespace {
class SimTimer final : public io::Timer {
 public:
  SimTimer(World& world, World::EventKey key, std::shared_ptr<bool> cancelled)
      : world_(world), key_(key), cancelled_(std::move(cancelled)) {}
  ~SimTimer() override { SimTimer::cancel(); }
  void cancel() override {
    *cancelled_ = true;  // it may be posted already
    world_.cancel(key_);
  }

 private:
  World& world_;
  World::EventKey key_;
  std::shared_ptr<bool> cancelled_;
};
}  // namespace

Process::~Process() = default;

SimExecutor& Process::executor(std::string name) {
  CHECK(alive_);
  executors_.push_back(std::unique_ptr<SimExecutor>(new SimExecutor(world_, *this, std::move(name))));
  return *executors_.back();
}

std::unique_ptr<io::Timer> Process::schedule(int64_t delay_ns, io::Executor& executor, Task task) {
  auto cancelled = std::make_shared<bool>(false);
  auto guarded = [cancelled, task = std::move(task)]() mutable {
    if (!*cancelled) task();
  };
  World::EventKey key{-1, 0};  // matches no event
  if (delay_ns <= 0) {
    executor.post(std::move(guarded));
  } else {
    key = world_.after(clock_.to_world_delay(delay_ns),
                       [this, &executor, guarded = std::move(guarded)]() mutable {
                         if (alive_) executor.post(std::move(guarded));
                       });
  }
  return std::make_unique<SimTimer>(world_, key, std::move(cancelled));
}

void Process::kill() {
  if (!alive_) return;
  for (auto& executor : executors_) CHECK(!executor->running_here());
  alive_ = false;
  for (auto& executor : executors_) {
    std::erase(world_.ready_, executor.get());
    executor->ready_ = false;
    executor->drop_all();
  }
}

void Process::pause() {
  if (!alive_ || paused_) return;
  for (auto& executor : executors_) CHECK(!executor->running_here());
  paused_ = true;
  for (auto& executor : executors_) {
    std::erase(world_.ready_, executor.get());
    executor->ready_ = false;
  }
}

void Process::resume() {
  if (!alive_ || !paused_) return;
  paused_ = false;
  for (auto& executor : executors_) {
    executor->make_ready();
  }
}

// ---- World ----

World::World(uint64_t seed, Options options) : seed_(seed), prng_(seed), options_(options) {}

World::~World() {
  for (auto& process : processes_) process->kill();
  while (!events_.empty()) auto dropped = std::exchange(events_, {});
}

Process& World::start_process(std::string name) {
  processes_.push_back(std::unique_ptr<Process>(new Process(*this, std::move(name))));
  return *processes_.back();
}

World::EventKey World::at(io::MonotonicNs when, Task task) {
  const EventKey key{std::max(when, now_), next_event_++};
  events_.emplace(key, std::move(task));
  return key;
}

bool World::step() {
  if (!events_.empty() && (ready_.empty() || events_.begin()->first.first <= now_)) {
    auto node = events_.extract(events_.begin());
    now_ = std::max(now_, node.key().first);
    ++steps_;
    node.mapped()();
    return true;
  }
  if (ready_.empty()) return false;
  const size_t pick = ready_.size() == 1 ? 0 : prng_.below(ready_.size());
  SimExecutor* const executor = ready_[pick];
  ++steps_;
  executor->run_one();
  now_ += options_.task_cost_ns;
  if (executor->ready_ && (executor->queue_.empty() || executor->busy_)) {
    executor->ready_ = false;
    std::erase(ready_, executor);
  }
  return true;
}

bool World::run_until(absl::FunctionRef<bool()> done, int64_t max_ns) {
  const io::MonotonicNs end = now_ + max_ns;
  while (!done()) {
    if (now_ > end) return false;
    if (ready_.empty() && (events_.empty() || events_.begin()->first.first > end)) {
      now_ = end;
      return false;
    }
    step();
  }
  return true;
}

void World::run_for(int64_t ns) {
  run_until([] { return false; }, ns);
}

bool World::run_idle(int64_t max_ns) {
  const io::MonotonicNs end = now_ + max_ns;
  while (now_ <= end) {
    if (ready_.empty() && events_.empty()) return true;
    if (ready_.empty() && events_.begin()->first.first > end) {
      now_ = end;
      return false;
    }
    step();
  }
  return false;
}

}  // namespace quoin::sim
