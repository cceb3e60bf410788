// The store over the real backend on a real file (unsafe_no_fsync: disks are not what is measured here), with
// 32-byte keys and 256-byte values. Argument: keys in the store.
//   BM_Put/keys/batch        overwrites random keys, published after every `batch` of them
//   BM_Get/keys              one key at head, record copied
//   BM_Page1000/keys/back    a page of 1,000 keys with count and more, `back` revisions back, records copied
//   BM_Restore/keys          start-up from the file
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <filesystem>
#include <mutex>

#include "base/prng.h"
#include "mvcc/fake_leases_test.h"
#include "mvcc/key_value.h"
#include "mvcc/store.h"
#include "posix/clock.h"
#include "posix/executors.h"
#include "posix/file.h"
#include "posix/timers.h"

namespace quoin::mvcc {
namespace {

// The apply strand, run by the benchmark's own thread.
class Pumped final : public io::Executor {
 public:
  void post(Task task) override {
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(std::move(task));
  }
  bool running_here() const override { return true; }
  void run() {
    std::vector<Task> tasks;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      tasks.swap(queue_);
    }
    for (Task& task : tasks) task();
  }

 private:
  std::mutex mutex_;
  std::vector<Task> queue_;
};

std::string key_of(uint64_t i) {
  return fmt::format("/registry/pods/ns-{:03}/{:010x}", i % 100, (i * 0x9e3779b97f4a7c15ull) >> 24);
}

struct Rig {
  posix::SystemClock clock;
  posix::DiskThread file{"file"};
  posix::ThreadTimers timers{clock};
  Pumped apply;
  std::unique_ptr<io::FileSystem> fs = posix::make_file_system(file);
  std::string dir = std::filesystem::temp_directory_path() / fmt::format("quoin-store-bench-{}", ::getpid());
  std::unique_ptr<metrics::Registry> registry;
  FakeLeases leases;
  std::unique_ptr<backend::Backend> backend;
  std::unique_ptr<Store> store;
  std::vector<std::string> keys;
  const std::string value = std::string(256, 'v');

  explicit Rig(int64_t count) {
    std::filesystem::remove_all(dir);
    std::filesystem::create_directories(dir);
    open();
    for (int64_t i = 0; i < count; ++i) {
      keys.push_back(key_of(static_cast<uint64_t>(i)));
      put(keys.back());
      if (i % 1000 == 0) publish();
    }
    commit();
  }
  ~Rig() {
    close();
    timers.stop();
    file.stop();
    std::filesystem::remove_all(dir);
  }
  void open() {
    registry = std::make_unique<metrics::Registry>();
    backend::Options options;
    options.path = dir + "/db";
    options.unsafe_no_fsync = true;
    backend = std::move(
        *backend::Backend::open(options, *fs, apply, file, timers, clock, *registry, log::null_logger()));
    load();
  }
  void load() {
    leases.of.clear();
    store = std::move(*Store::restore(*backend, leases, *registry));
  }
  void wait(const bool& flag) {
    while (!flag) apply.run();
  }
  void commit() {
    bool durable = false;
    backend->commit([&] { durable = true; });
    wait(durable);
    publish();
  }
  void close() {
    commit();
    store.reset();
    bool closed = false;
    backend->close([&](Result<> r) {
      CHECK(r.has_value());
      closed = true;
    });
    wait(closed);
    backend.reset();
  }
  void put(std::string_view key) {
    while (backend->full()) apply.run();
    CHECK(store->begin().put({.key = key, .value = value}).has_value());
    store->end();
  }
  void publish() {
    store->publish();
    apply.run();
    store->maintain(100);
  }
};

Rig& rig(int64_t count) {
  static std::unique_ptr<Rig> one;
  static int64_t size = 0;
  if (!one || size != count) {
    one.reset();
    one = std::make_unique<Rig>(count);
    size = count;
  }
  return *one;
}

void BM_Get(benchmark::State& state) {
  Rig& r = rig(state.range(0));
  const auto view = r.store->publish();
  Prng prng(5);
  char out[512];
  for (auto _ : state) {
    const auto record = view->get(r.keys[prng.below(r.keys.size())], view->revision());
    std::memcpy(out, (*record)->data(), (*record)->size());
    benchmark::DoNotOptimize(out);
  }
}

void BM_Page1000(benchmark::State& state) {
  Rig& r = rig(state.range(0));
  Prng prng(6);
  // Half of the changes since then create keys, so that the log has work.
  static uint64_t fresh = 1u << 30;
  const int64_t at = r.store->revision();
  for (int64_t i = 0; i < state.range(1); ++i) {
    r.put(i % 2 ? key_of(fresh++) : r.keys[prng.below(r.keys.size())]);
  }
  r.commit();
  const auto view = r.store->publish();
  const std::string end = "/registry/q";
  std::vector<char> out;
  int64_t seen = 0;
  for (auto _ : state) {
    out.clear();
    const std::string& from = r.keys[prng.below(r.keys.size())];
    auto scan = RangeScan::start(view, {.key = from, .range_end = end, .limit = 1000, .revision = at});
    CHECK(scan->run([&](std::string_view bytes) {
                out.insert(out.end(), bytes.begin(), bytes.end());
                ++seen;
                return true;
              })
              .has_value());
    benchmark::DoNotOptimize(scan->count() + scan->more());
  }
  state.counters["keys_per_page"] = static_cast<double>(seen) / static_cast<double>(state.iterations());
}

void BM_Put(benchmark::State& state) {
  Rig& r = rig(state.range(0));
  Prng prng(7);
  int64_t n = 0;
  for (auto _ : state) {
    if (r.backend->full()) {
      state.PauseTiming();
      while (r.backend->full()) r.apply.run();
      state.ResumeTiming();
    }
    CHECK(r.store->begin().put({.key = r.keys[prng.below(r.keys.size())], .value = r.value}).has_value());
    r.store->end();
    if (++n % state.range(1) == 0) r.publish();
  }
}

void BM_Restore(benchmark::State& state) {
  Rig& r = rig(state.range(0));
  r.commit();
  for (auto _ : state) {
    state.PauseTiming();
    r.store.reset();
    state.ResumeTiming();
    r.load();
  }
}

BENCHMARK(BM_Restore)->Arg(1000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Get)->Arg(1000);
BENCHMARK(BM_Page1000)->Args({1000, 0});
BENCHMARK(BM_Put)->Args({1000, 1})->Args({1000, 64});
BENCHMARK(BM_Restore)->Arg(1'000'000)->Unit(benchmark::kMillisecond)->Iterations(2);
BENCHMARK(BM_Get)->Arg(1'000'000);
BENCHMARK(BM_Page1000)->Args({1'000'000, 0})->Args({1'000'000, 5000})->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_Put)->Args({1'000'000, 1})->Args({1'000'000, 64});

}  // namespace
}  // namespace quoin::mvcc
