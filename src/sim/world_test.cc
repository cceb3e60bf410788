#include "sim/world.h"

#include <gtest/gtest.h>

#include <string>

#include "sim/log_sink.h"

namespace quoin::sim {
namespace {

// The order in which two executors' tasks ran, as text.
std::string interleaving(uint64_t seed) {
  World world(seed);
  Process& process = world.start_process("p");
  SimExecutor& a = process.executor("a");
  SimExecutor& b = process.executor("b");
  std::string order;
  for (int i = 0; i < 8; ++i) {
    a.post([&order, i] { order += static_cast<char>('a' + i); });
    b.post([&order, i] { order += static_cast<char>('A' + i); });
  }
  EXPECT_TRUE(world.run_idle());
  return order;
}

TEST(World, OrderWithinAnExecutorIsKeptAndBetweenExecutorsIsDrawn) {
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::string order = interleaving(seed);
    EXPECT_EQ(order, interleaving(seed)) << "one seed, one run";
    std::string lower, upper;
    for (char c : order) (c >= 'a' ? lower : upper) += c;
    EXPECT_EQ(lower, "abcdefgh");
    EXPECT_EQ(upper, "ABCDEFGH");
    seen.insert(order);
  }
  EXPECT_GT(seen.size(), 10u);
}

TEST(World, TasksNeverRunInsidePost) {
  World world(1);
  SimExecutor& e = world.start_process("p").executor("e");
  bool inner = false;
  bool checked = false;
  e.post([&] {
    EXPECT_TRUE(e.running_here());
    e.post([&] { inner = true; });
    EXPECT_FALSE(inner);
    checked = true;
  });
  EXPECT_FALSE(checked);
  EXPECT_FALSE(e.running_here());
  EXPECT_TRUE(world.run_idle());
  EXPECT_TRUE(inner && checked);
}

TEST(World, EndOfRoundRunsAfterTheTaskAndWithWhatItAdds) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    World world(seed);
    SimExecutor& loop = world.start_process("p").executor("loop");
    std::string order;
    for (int i = 0; i < 3; ++i) {
      loop.post([&order, &loop, i] {
        order += static_cast<char>('0' + i);
        loop.at_end_of_round([&order, &loop] {
          order += 'e';
          if (order.size() < 12) loop.at_end_of_round([&order] { order += 'x'; });
        });
      });
    }
    EXPECT_TRUE(world.run_idle());
    EXPECT_EQ(order.front(), '0');
    EXPECT_EQ(order.back(), 'x') << order;
    EXPECT_EQ(std::count(order.begin(), order.end(), 'e'), 3);
    EXPECT_EQ(std::count(order.begin(), order.end(), 'x'), 3);
  }
}

TEST(World, TimersFireInOrderOfTimeAndNotAfterCancel) {
  World world(7);
  Process& p = world.start_process("p");
  SimExecutor& e = p.executor("e");
  std::string order;
  auto t3 = p.schedule(30 * io::kMillisecond, e, [&] { order += '3'; });
  auto t1 = p.schedule(10 * io::kMillisecond, e, [&] { order += '1'; });
  auto t2 = p.schedule(20 * io::kMillisecond, e, [&] { order += '2'; });
  auto t0 = p.schedule(0, e, [&] { order += '0'; });
  EXPECT_EQ(order, "") << "also a delay of 0 is a posted task";
  auto cancelled = p.schedule(5 * io::kMillisecond, e, [&] { order += 'c'; });
  auto dropped = p.schedule(5 * io::kMillisecond, e, [&] { order += 'd'; });
  cancelled->cancel();
  dropped.reset();
  // Cancelled when it is already posted.
  auto late = p.schedule(0, e, [&] { order += 'l'; });
  late->cancel();
  world.run_for(15 * io::kMillisecond);
  EXPECT_EQ(order, "01");
  EXPECT_EQ(world.now(), 15 * io::kMillisecond);
  EXPECT_TRUE(world.run_idle());
  EXPECT_EQ(order, "0123");
}

TEST(World, KillDropsTasksTimersAndLaterPosts) {
  World world(3);
  Process& p = world.start_process("p");
  Process& q = world.start_process("q");
  SimExecutor& e = p.executor("e");
  SimExecutor& other = q.executor("e");
  int ran = 0, other_ran = 0;
  e.post([&] { ++ran; });
  other.post([&] { ++other_ran; });
  auto timer = p.schedule(io::kSecond, e, [&] { ++ran; });
  // A task whose destruction posts again.
  auto guard = std::shared_ptr<void>(nullptr, [&](void*) { e.post([&] { ++ran; }); });
  e.post([g = std::move(guard)] {});
  p.kill();
  EXPECT_FALSE(p.alive());
  e.post([&] { ++ran; });
  EXPECT_TRUE(world.run_idle());
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(other_ran, 1);
}

TEST(World, APausedProcessGoesOnWhereItStood) {
  World world(1);
  Process& process = world.start_process("p");
  SimExecutor& e = process.executor("e");
  std::string seen;
  e.post([&] { seen += 'a'; });
  process.pause();
  e.post([&] { seen += 'b'; });
  const auto timer = process.schedule(io::kSecond, e, [&] { seen += 't'; });
  EXPECT_TRUE(world.run_idle());
  EXPECT_EQ(seen, "");
  EXPECT_GE(process.clock().monotonic(), io::kSecond) << "its clock goes on";
  process.resume();
  EXPECT_TRUE(world.run_idle());
  EXPECT_EQ(seen, "abt");
  process.pause();
  e.post([&] { seen += 'c'; });
  process.kill();
  process.resume();
  EXPECT_TRUE(world.run_idle());
  EXPECT_EQ(seen, "abt");
}

TEST(World, ClocksDriftAndJump) {
  World world(5);
  Process& p = world.start_process("p");
  p.clock().set_drift_ppm(100'000);  // 10 % fast
  const auto wall = p.clock().wall();
  world.run_for(10 * io::kSecond);
  EXPECT_EQ(p.clock().monotonic(), 11 * io::kSecond);
  EXPECT_EQ(p.clock().wall() - wall, 11 * io::kSecond);
  p.clock().jump_wall(-io::kSecond);
  EXPECT_EQ(p.clock().wall() - wall, 10 * io::kSecond);
  EXPECT_EQ(p.clock().monotonic(), 11 * io::kSecond);
  p.clock().set_drift_ppm(0);
  EXPECT_EQ(p.clock().monotonic(), 11 * io::kSecond) << "no jump when the rate changes";
  p.clock().set_drift_ppm(-500'000);
  SimExecutor& e = p.executor("e");
  bool fired = false;
  auto t = p.schedule(io::kSecond, e, [&] { fired = true; });
  world.run_for(2 * io::kSecond - 10 * io::kMillisecond);
  EXPECT_FALSE(fired);
  world.run_for(20 * io::kMillisecond);
  EXPECT_TRUE(fired);
}

TEST(World, RunUntilStopsAtTheLimit) {
  World world(9);
  Process& p = world.start_process("p");
  SimExecutor& e = p.executor("e");
  std::unique_ptr<io::Timer> timer;
  int ticks = 0;
  std::function<void()> tick = [&] {
    ++ticks;
    timer = p.schedule(100 * io::kMillisecond, e, [&] { tick(); });
  };
  tick();
  EXPECT_FALSE(world.run_idle(io::kSecond));
  EXPECT_GE(ticks, 10);
  EXPECT_TRUE(world.run_until([&] { return ticks == 20; }, 10 * io::kSecond));
  EXPECT_FALSE(world.run_until([&] { return ticks == 1000; }, io::kSecond));
}

TEST(LogSink, RendersALineAnEvent) {
  LogSink sink;
  const std::vector<std::string> urls{"a", "b"};
  LOG(sink, kWarn, "slow fdatasync", {"took", log::Duration{5}}, {"id", log::Hex{255}}, {"n", 3},
      {"urls", urls}, {"ok", true});
  sink.set_level(log::Level::kError);
  LOG(sink, kInfo, "dropped");
  ASSERT_EQ(sink.lines().size(), 1u);
  EXPECT_EQ(sink.lines()[0], "warn slow fdatasync took=5ns id=ff n=3 urls=[a b] ok=true");
  EXPECT_TRUE(sink.contains("took=5ns"));
}

}  // namespace
}  // namespace quoin::sim
