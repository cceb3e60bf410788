#include "cmd/etcdctl/check_bar.h"

#include <gtest/gtest.h>

namespace quoin::ctl {
namespace {

TEST(CheckBar, FillsTheColumns) {
  for (const int64_t value : {0, 1, 30, 58, 60}) {
    EXPECT_EQ(bar_text(value, 60, 1, 100, false).size(), 100u) << value;
  }
}

// As the real etcdctl 3.6 printed them.
TEST(CheckBar, TellsHowFarItIs) {
  EXPECT_EQ(bar_text(0, 60, 0, 100, false), "0 / 60 [" + std::string(79, '_') + "] 0.00% ? p/s");
  EXPECT_EQ(bar_text(1, 60, 2, 100, false), "1 / 60 [->" + std::string(77, '_') + "] 1.67% 2 p/s");
  EXPECT_EQ(bar_text(58, 60, 1, 100, false), "58 / 60 [" + std::string(74, '-') + ">__] 96.67% 1 p/s");
}

TEST(CheckBar, HasNoArrowAtTheEnd) {
  EXPECT_EQ(bar_text(60, 60, 1, 100, true), "60 / 60 [" + std::string(76, '-') + "] 100.00% 1 p/s");
  EXPECT_EQ(bar_text(60, 60, 1, 100, false), "60 / 60 [" + std::string(75, '-') + ">] 100.00% 1 p/s");
}

TEST(CheckBar, NeedsNoRoom) {
  EXPECT_EQ(bar_text(5, 10, 0, 10, false), "5 / 10 [] 50.00% ? p/s");
}

}  // namespace
}  // namespace quoin::ctl
