// A member alone does not wait for an election timeout: there is nobody who could lead instead.
#include "server/life_test.h"

namespace quoin::server {
namespace {

TEST(Alone, LeadsBeforeItsFirstTick) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    sim::World world(seed);
    sim::SimDisk disk(world);
    Config config = life_config();
    // Far beyond what the few syncs of a start take.
    config.heartbeat_ns = 10 * io::kSecond;
    config.election_ns = 100 * io::kSecond;
    config.snapshot_count = 3;
    for (int life = 0; life < 3; ++life) {
      SCOPED_TRACE(life);
      const int64_t began = world.now();
      Life member(world, disk, config);
      ASSERT_FALSE(member.start_error) << member.start_error->text();
      EXPECT_LT(world.now() - began, 10 * io::kSecond);
      EXPECT_FALSE(member.log.contains("cannot campaign"));
      for (int i = 0; i < 4; ++i) member.put("k", "v");
      if (life == 1) member.stop();
    }
  }
}

}  // namespace
}  // namespace quoin::server
