#include "backend/segment.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "backend/segment_yard.h"
#include "base/prng.h"

namespace quoin::backend {
namespace {

TEST(SegmentTest, LowerBoundIsThatOfASortedList) {
  Prng prng(7);
  Segment s;
  std::vector<Revision> all;
  Revision r{5, 0};
  for (int i = 0; i < 5000; ++i) {
    s.append(r, prng.chance(1, 4), Blob::copy(std::to_string(i)));
    all.push_back(r);
    if (prng.chance(2, 3)) {
      r = {r.main + 1, 0};
    } else {
      ++r.sub;
    }
  }
  ASSERT_EQ(s.record_count(), all.size());
  for (int i = 0; i < 20000; ++i) {
    const uint64_t count = prng.below(all.size() + 1);
    const Revision at{static_cast<int64_t>(prng.below(static_cast<uint64_t>(r.main) + 5)),
                      static_cast<int64_t>(prng.below(4))};
    const auto end = all.begin() + static_cast<int64_t>(count);
    ASSERT_EQ(s.lower_bound(at, count),
              static_cast<uint64_t>(std::lower_bound(all.begin(), end, at) - all.begin()));
  }
}

// One thread appends and hands out counts; others read up to them. The values say which record they belong
// to.
TEST(SegmentTest, ReadersOnOtherThreadsSeeCompleteRecordsUpToTheCountTheyGot) {
  constexpr int64_t kRecords = 60'000;
  Segment s;
  std::atomic<uint64_t> published{0};
  std::vector<std::thread> readers;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    readers.emplace_back([&, seed] {
      Prng prng(seed);
      for (uint64_t count = 0; count < kRecords;) {
        count = published.load(std::memory_order_acquire);
        if (count == 0) continue;
        const uint64_t i = prng.below(count);
        const Record& r = s.record(i);
        CHECK_EQ(r.revision.main, static_cast<int64_t>(i) + 2);
        CHECK(r.value.view() == std::to_string(r.revision.main));
        CHECK_EQ(s.lower_bound({r.revision.main, 0}, count), i);
      }
    });
  }
  for (int64_t i = 0; i < kRecords; ++i) {
    s.append({i + 2, 0}, false, Blob::copy(std::to_string(i + 2)));
    published.store(static_cast<uint64_t>(i) + 1, std::memory_order_release);
  }
  for (auto& t : readers) t.join();
}

struct Queue final : io::Executor {
  std::vector<Task> tasks;
  void post(Task task) override { tasks.push_back(std::move(task)); }
  bool running_here() const override { return true; }
  size_t run_all() {
    size_t n = 0;
    for (; !tasks.empty(); ++n) {
      Task task = std::move(tasks.back());
      tasks.pop_back();
      std::move(task)();
    }
    return n;
  }
};

std::shared_ptr<Segment> filled(SegmentYard& yard, int64_t records) {
  std::shared_ptr<Segment> s = yard.make();
  for (int64_t i = 0; i < records; ++i) s->append({i + 2, 0}, false, Blob::copy("v"));
  return s;
}

TEST(SegmentTest, SomeOfItIsFreed) {
  Segment s;
  for (int64_t i = 0; i < 5'000; ++i) s.append({i + 2, 0}, false, Blob::copy("v"));
  for (int i = 0; i < 100; ++i) s.put(Bucket::kLease, std::to_string(i), "x");
  EXPECT_TRUE(s.free_some(50));
  EXPECT_EQ(s.pairs(Bucket::kLease).size(), 50u);
  EXPECT_TRUE(s.free_some(1'050));
  EXPECT_EQ(s.record_count(), 4'000u);
  EXPECT_TRUE(s.free_some(3'999));
  EXPECT_FALSE(s.free_some(2));
  EXPECT_EQ(s.record_count(), 0u);
}

// Whoever drops a large segment frees nothing of it; the file strand does, a bounded part in each task.
TEST(SegmentTest, ALargeSegmentIsFreedInSteps) {
  Queue file;
  auto yard = std::make_shared<SegmentYard>(file);
  std::shared_ptr<Segment> small = filled(*yard, 100);
  small.reset();
  EXPECT_TRUE(file.tasks.empty());
  std::shared_ptr<Segment> one = filled(*yard, 20'000), two = filled(*yard, 20'000);
  one.reset();
  two.reset();
  EXPECT_EQ(file.run_all(), 2 * 20'000 / SegmentYard::kFreedPerTask);
  // After the end nothing is posted any more.
  one = filled(*yard, 20'000);
  two = filled(*yard, 20'000);
  one.reset();
  EXPECT_EQ(file.tasks.size(), 1u);
  yard->close();
  two.reset();
  EXPECT_EQ(file.run_all(), 1u);
}

}  // namespace
}  // namespace quoin::backend
