#include "posix/loop.h"

#include <pthread.h>
#include <uv.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/check.h"

namespace quoin::posix {

// What an end of round adds to itself is run at once this often: a connection's answers are gathered, written
// to the socket, and what the socket had no room for before follows.
static constexpr int kEndOfRoundPasses = 4;
// How long the posted tasks, and again the ends of round, may take before the loop looks at its sockets again.
// What is left keeps its place and goes on in the next round.
static constexpr int64_t kRoundNs = io::kMillisecond;

namespace {
// Tasks in the order in which they were added.
class TaskQueue {
 public:
  bool empty() const { return next_ == tasks_.size(); }
  void add(Task task) { tasks_.push_back(std::move(task)); }
  void add(std::vector<Task>& more) {
    if (empty()) clear();
    if (tasks_.empty()) return tasks_.swap(more);
    for (Task& t : more) tasks_.push_back(std::move(t));
    more.clear();
  }
  // Runs the tasks that are there now, as long as the clock is before `until`, at least one; returns what the
  // clock says then.
  io::MonotonicNs run(io::MonotonicNs now, io::MonotonicNs until, TaskMeter& meter) {
    const size_t end = tasks_.size();
    while (next_ < end) {
      Task task = std::move(tasks_[next_++]);
      std::move(task)();
      task = nullptr;
      const io::MonotonicNs done = TaskMeter::now();
      meter.took(now, done);
      now = done;
      if (now >= until) break;
    }
    if (empty()) {
      clear();
    } else if (next_ >= 64 && next_ >= tasks_.size() / 2) {
      tasks_.erase(tasks_.begin(), tasks_.begin() + static_cast<ptrdiff_t>(next_));
      next_ = 0;
    }
    return now;
  }

 private:
  void clear() {
    tasks_.clear();
    next_ = 0;
    if (tasks_.capacity() > kKeptTasks) tasks_.shrink_to_fit();
  }
  static constexpr size_t kKeptTasks = 4096;
  std::vector<Task> tasks_;
  size_t next_ = 0;
};
}  // namespace

struct UvLoop::Impl {
  std::string name;
  uv_loop_t loop;
  uv_async_t wake;
  uv_prepare_t before_wait;
  uv_idle_t no_wait;  // active while tasks wait for the next round: the loop polls without waiting
  std::mutex mutex;
  std::vector<Task> queue;  // guarded by mutex: from other threads
  bool stopping = false;    // guarded by mutex
  TaskQueue posted;         // what the loop will run: its own, and those taken from `queue`
  TaskQueue round;          // at_end_of_round
  std::vector<Task> taken;  // from `queue`, kept for its memory
  TaskMeter meter;
  std::thread thread;
  std::thread::id id;

  void take_posted() {
    {
      std::lock_guard lock(mutex);
      taken.swap(queue);
    }
    posted.add(taken);
  }
  void end_round() {
    if (!posted.empty() || !round.empty()) {
      io::MonotonicNs now = TaskMeter::now();
      TaskMeter::before_tasks(now);
      if (!posted.empty()) now = posted.run(now, now + kRoundNs, meter);
      const io::MonotonicNs until = now + kRoundNs;
      for (int i = 0; i < kEndOfRoundPasses && !round.empty() && now < until; ++i) {
        now = round.run(now, until, meter);
      }
    }
    auto* handle = reinterpret_cast<uv_handle_t*>(&no_wait);
    if (uv_is_closing(handle)) return;
    if (posted.empty() && round.empty()) {
      uv_idle_stop(&no_wait);
    } else {
      uv_idle_start(&no_wait, [](uv_idle_t*) {});
    }
  }
};

UvLoop::UvLoop(std::string name) : impl_(std::make_unique<Impl>()) {
  Impl& s = *impl_;
  s.name = std::move(name);
  CHECK_EQ(uv_loop_init(&s.loop), 0);
  s.loop.data = this;
  s.wake.data = &s;
  s.before_wait.data = &s;
  uv_async_init(&s.loop, &s.wake, [](uv_async_t* h) { static_cast<Impl*>(h->data)->take_posted(); });
  uv_prepare_init(&s.loop, &s.before_wait);
  uv_idle_init(&s.loop, &s.no_wait);
  uv_prepare_start(&s.before_wait, [](uv_prepare_t* h) { static_cast<Impl*>(h->data)->end_round(); });
  std::mutex started_mutex;
  std::condition_variable started_cv;
  bool started = false;
  s.thread = std::thread([&] {
    Impl& st = *impl_;
    {
      std::lock_guard lock(started_mutex);
      st.id = std::this_thread::get_id();
      started = true;
      started_cv.notify_one();
    }
    pthread_setname_np(pthread_self(), st.name.substr(0, 15).c_str());
    uv_run(&st.loop, UV_RUN_DEFAULT);
  });
  std::unique_lock lock(started_mutex);
  started_cv.wait(lock, [&] { return started; });
}

UvLoop::~UvLoop() {
  stop();
}

void UvLoop::post(Task task) {
  Impl& s = *impl_;
  if (running_here()) {
    s.posted.add(std::move(task));
    return;
  }
  bool wake;
  {
    std::lock_guard lock(s.mutex);
    wake = s.queue.empty();
    s.queue.push_back(std::move(task));
    // The handle is closed only after `stopping` was seen with this lock held, so sending here is safe.
    if (wake && !s.stopping) uv_async_send(&s.wake);
  }
}

bool UvLoop::running_here() const {
  return std::this_thread::get_id() == impl_->id;
}

void UvLoop::at_end_of_round(Task task) {
  DCHECK(running_here());
  impl_->round.add(std::move(task));
}

const TaskMeter& UvLoop::meter() const {
  return impl_->meter;
}

TaskMeter& UvLoop::own_meter() {
  return impl_->meter;
}

void UvLoop::stop() {
  Impl& s = *impl_;
  if (!s.thread.joinable()) return;
  CHECK(!running_here());
  post([&s] {
    std::lock_guard lock(s.mutex);
    s.stopping = true;
    uv_walk(
        &s.loop,
        [](uv_handle_t* h, void*) {
          if (!uv_is_closing(h)) uv_close(h, nullptr);
        },
        nullptr);
  });
  s.thread.join();
  // Tasks that were posted meanwhile never run; they are destroyed here, on the stopping thread.
  uv_run(&s.loop, UV_RUN_DEFAULT);
  uv_loop_close(&s.loop);
}

uv_loop_s* UvLoop::uv() {
  return &impl_->loop;
}

}  // namespace quoin::posix
