#include "server/start_progress.h"

#include <gtest/gtest.h>

#include "sim/log_sink.h"

namespace quoin::server {
namespace {

class SetClock final : public io::Clock {
 public:
  io::MonotonicNs monotonic() const override { return now; }
  io::WallNs wall() const override { return 0; }
  io::MonotonicNs now = 5;
};

TEST(StartProgress, TellsNowAndThen) {
  sim::LogSink log;
  SetClock clock;
  StartProgress progress("reading the store", log, clock);
  for (int second = 0; second < 35; ++second) {
    progress.goes_on(second);
    clock.now += io::kSecond;
  }
  EXPECT_EQ(log.count("the start goes on step=reading the store"), 3u);
  EXPECT_TRUE(log.contains("revision=10")) << "ten seconds after it began";
}

}  // namespace
}  // namespace quoin::server
