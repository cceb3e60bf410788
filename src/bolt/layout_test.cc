// The file is never larger than bbolt's for the same changes, at any size of the values.
#include "bolt/testing/layout.h"

#include <gtest/gtest.h>

namespace quoin::bolt {
namespace {

using testing::Layout;
using testing::layout_records;
using testing::LayoutCounts;
using testing::RecordedLayout;

// A hundredth: bbolt's own counts vary by as much, since it merges pages in the order of a Go map.
uint64_t with_slack(uint64_t pages) {
  return pages + pages / 100 + 2;
}

TEST(Layout, NeverMorePagesThanBbolt) {
  for (const RecordedLayout& bbolt : testing::kBboltLayouts) {
    SCOPED_TRACE(bbolt.value_bytes);
    const LayoutCounts ours = Layout(layout_records(bbolt.value_bytes), bbolt.value_bytes).run();
    EXPECT_LE(ours.filled.in_use, bbolt.filled + 2);
    EXPECT_LE(ours.updated.in_use, with_slack(bbolt.updated));
    EXPECT_LE(ours.defragmented.in_use, bbolt.defragmented + 2);
    EXPECT_LE(ours.scattered.in_use, with_slack(bbolt.scattered));
  }
}

}  // namespace
}  // namespace quoin::bolt
