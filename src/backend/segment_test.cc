#include "backend/segment.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

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

}  // namespace
}  // namespace quoin::backend
