// The real thing: apply, file and readers on threads of their own, on a real disk. For the thread sanitizer;
// what is read has its evidence in it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <mutex>
#include <thread>

#include "backend/backend.h"
#include "base/prng.h"
#include "posix/clock.h"
#include "posix/executors.h"
#include "posix/file.h"
#include "posix/timers.h"

namespace quoin::backend {
namespace {

std::string value_of(int64_t main) {
  return std::to_string(main) + std::string(static_cast<size_t>(main % 200), 'v');
}

// Keeps every fourth revision.
bool kept(int64_t main) {
  return main % 4 == 0;
}
class KeepFourths : public Compactor {
 public:
  bool keep(std::string_view, Revision r, bool, std::string_view) override { return kept(r.main); }
};

struct Published {
  std::mutex mutex;
  std::shared_ptr<const View> view;  // guarded by mutex, as are the two below
  int64_t last = 1, compacted = 0;
};

void read_for_ever(Published* published, std::atomic<bool>* stop, std::atomic<uint64_t>* reads,
                   uint64_t seed) {
  Prng prng(seed);
  while (!stop->load()) {
    std::shared_ptr<const View> view;
    int64_t last = 0;
    int64_t compacted = 0;
    {
      std::lock_guard lock(published->mutex);
      view = published->view;
      last = published->last;
      compacted = published->compacted;
    }
    if (!view || last < 2) continue;
    for (int i = 0; i < 20; ++i) {
      const int64_t main = static_cast<int64_t>(prng.between(2, static_cast<uint64_t>(last)));
      const auto r = view->record({main, 0});
      if (main > compacted || kept(main)) CHECK(r.has_value(), "revision {} is missing", main);
      if (r) CHECK(*r == value_of(main));
    }
    const int64_t from = std::max<int64_t>(2, last - 50);
    int64_t next = from;
    CHECK(view->scan_records({from, 0}, {last + 1, 0},
                             [&](Revision r, bool, std::string_view value) {
                               CHECK(value == value_of(r.main));
                               for (; next < r.main; ++next)
                                 CHECK(next <= compacted && !kept(next), "revision {} is missing", next);
                               ++next;
                               return true;
                             })
              .has_value());
    reads->fetch_add(1);
  }
}

TEST(ThreadsTest, ReadersSeeTheRightBytesWhileEverythingGoesOn) {
  std::string dir = std::filesystem::temp_directory_path() / "quoin_backend_XXXXXX";
  ASSERT_NE(mkdtemp(dir.data()), nullptr);
  posix::SystemClock clock;
  posix::ThreadTimers timers(clock);
  posix::DiskThread apply("apply");
  posix::DiskThread file("file");
  auto fs = posix::make_file_system(file);
  metrics::Registry metrics;
  Options options;
  options.path = dir + "/db";
  options.map_bytes = 1u << 30;
  options.batch_interval_ns = 2 * io::kMillisecond;
  options.batch_limit = 200;
  options.compaction_batch_limit = 300;
  options.compaction_sleep_ns = io::kMillisecond;
  auto opened = Backend::open(options, *fs, apply, file, timers, clock, metrics, log::null_logger());
  ASSERT_TRUE(opened) << opened.error().text();
  Backend& b = **opened;

  Published published;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> reads{0};
  std::vector<std::thread> readers;
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    readers.emplace_back(read_for_ever, &published, &stop, &reads, seed);
  }

  // Each batch is a task of apply; the next is asked for when this one is done.
  constexpr int64_t kLast = 12'000;
  int64_t main = 1;
  std::atomic<int> maintenance{0}, maintained{0};
  const auto run = [&](auto&& what) {
    std::promise<void> ran;
    apply.post([&] {
      what();
      ran.set_value();
    });
    ran.get_future().wait();
  };
  while (main < kLast) {
    run([&] {
      for (int i = 0; i < 60 && !b.full(); ++i) {
        ++main;
        b.append({main, 0}, false, Blob::copy(value_of(main)));
        b.put(Bucket::kLease, "lease" + std::to_string(main % 50), std::to_string(main));
        b.set_consistent_index(Index(static_cast<uint64_t>(main)), Term(1));
      }
      const auto view = b.view();
      std::lock_guard lock(published.mutex);
      published.view = view;
      published.last = main;
      // One kind of maintenance after the other.
      if (main < 200 || maintenance.load() != maintained.load()) return;
      switch (maintenance++ % 4) {
        case 0:
          published.compacted = main - 100;
          b.compact(main - 100, std::make_shared<KeepFourths>(), [&] { ++maintained; });
          break;
        case 1:
          b.defragment([&](Result<> r) {
            CHECK(r.has_value());
            ++maintained;
          });
          break;
        case 2:
          b.hash([&](Result<StateHash> r) {
            CHECK(r.has_value());
            ++maintained;
          });
          break;
        case 3:
          b.snapshot([&](Result<std::shared_ptr<SnapshotSource>> r) {
            CHECK(r.has_value());
            std::string head(4096, '\0');
            CHECK((*r)->read(0, head).has_value());
            ++maintained;
          });
          break;
      }
    });
  }
  while (maintained.load() < maintenance.load() || reads.load() < 20) std::this_thread::yield();
  EXPECT_GE(maintained.load(), 4);
  stop = true;
  for (auto& r : readers) r.join();
  published.view.reset();

  std::promise<Result<>> closed;
  apply.post([&] { b.close([&](Result<> r) { closed.set_value(r); }); });
  const Result<> result = closed.get_future().get();
  EXPECT_TRUE(result);
  timers.stop();
  file.stop();
  apply.stop();
  opened->reset();

  posix::DiskThread again("again");
  auto fs2 = posix::make_file_system(again);
  auto reopened = Backend::open(options, *fs2, again, again, timers, clock, metrics, log::null_logger());
  ASSERT_TRUE(reopened) << reopened.error().text();
  EXPECT_EQ((*reopened)->consistent_index(), Index(static_cast<uint64_t>(main)));
  EXPECT_EQ(*(*reopened)->view()->record({main, 0}), value_of(main));
  again.stop();
  reopened->reset();
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace quoin::backend
