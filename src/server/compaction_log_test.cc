// What a member tells of compactions, on a simulated machine.
#include "server/compaction_log.h"

#include <gtest/gtest.h>

#include "mvcc/hash_kv.h"
#include "server/life_test.h"

namespace quoin::server {
namespace {

// As a reader of the store computes it.
uint32_t hash_at(Life& life, int64_t revision) {
  auto run = mvcc::HashKvRun::start(life.view(), revision);
  CHECK(run.has_value(), "{}", run.error().text());
  while (!*run->step(10)) {
  }
  return run->result().hash;
}

std::vector<std::string> lines_with(const Life& life, std::string_view text) {
  std::vector<std::string> found;
  for (const std::string& line : life.log.lines()) {
    if (line.find(text) != std::string::npos) found.push_back(line);
  }
  return found;
}

TEST(CompactionLog, EachWithItsHash) {
  sim::World world(1);
  sim::SimDisk disk(world);
  Life life(world, disk, life_config());
  for (int i = 0; i < 9; ++i) life.put(fmt::format("k{}", i % 3), fmt::format("v{}", i));
  const uint32_t at_4 = hash_at(life, 4);
  life.compact(4);
  const uint32_t at_8 = hash_at(life, 8);  // of what follows the compaction at 4, and what that one kept
  life.compact(8);
  EXPECT_EQ(life.log.count("info compact tree index revision="), 2u);
  EXPECT_TRUE(life.log.contains("info compact tree index revision=4"));
  EXPECT_TRUE(life.log.contains("info compact tree index revision=8"));
  const auto finished = lines_with(life, "finished scheduled compaction");
  ASSERT_EQ(finished.size(), 2u);
  EXPECT_EQ(finished[0].find("info finished scheduled compaction compact-revision=4 took="), 0u)
      << finished[0];
  const uint64_t size = life.db_size();
  EXPECT_NE(finished[0].find(fmt::format("ns hash={} current-db-size-bytes={} current-db-size={}B "
                                         "current-db-size-in-use-bytes=",
                                         at_4, size, size)),
            std::string::npos)
      << finished[0];
  EXPECT_EQ(finished[0].find("took=0ns"), std::string::npos) << finished[0];
  EXPECT_EQ(lines_with(life, "storing new hash"),
            (std::vector<std::string>{
                fmt::format("info storing new hash hash={} revision=4 compact-revision=-1", at_4),
                fmt::format("info storing new hash hash={} revision=8 compact-revision=4", at_8)}));
  EXPECT_FALSE(life.log.contains("skip storing"));
  life.stop();
}

TEST(CompactionLog, OneCutShortIsResumedAndLeavesNoHash) {
  sim::World world(2);
  sim::SimDisk disk(world);
  Config config = life_config();
  config.compaction_batch_limit = 2;
  config.compaction_sleep_ns = 10 * io::kSecond;
  {
    Life life(world, disk, config);
    for (int i = 0; i < 9; ++i) life.put("k", fmt::format("v{}", i));
    life.compact(8, false);
    life.pass(5 * io::kSecond);
    life.stop();
    EXPECT_TRUE(life.log.contains("info compact tree index revision=8"));
    EXPECT_FALSE(life.log.contains("finished scheduled compaction"));
  }
  Life again(world, disk, life_config());
  EXPECT_FALSE(again.log.contains("restored last compact revision"));
  EXPECT_TRUE(again.log.contains("info resume scheduled compaction scheduled-compact-revision=8"));
  again.pass(5 * io::kSecond);
  EXPECT_EQ(again.log.count("info finished scheduled compaction compact-revision=8"), 1u);
  EXPECT_EQ(again.log.count("info previous compaction was interrupted, skip storing compaction hash value"),
            1u);
  EXPECT_FALSE(again.log.contains("storing new hash"));
  again.stop();
}

TEST(CompactionLog, Periodic) {
  sim::World world(3);
  sim::SimDisk disk(world);
  Config config = life_config();
  config.auto_compaction = Config::AutoCompaction::kPeriodic;
  config.auto_compaction_retention = 20 * io::kSecond;
  Life life(world, disk, config);
  for (int i = 0; i < 4; ++i) life.put("k", "v");
  life.pass(25 * io::kSecond);
  EXPECT_EQ(lines_with(life, "starting auto"),
            (std::vector<std::string>{
                "info starting auto periodic compaction revision=5 compact-period=20000000000ns"}));
  const auto completed = lines_with(life, "completed auto");
  ASSERT_EQ(completed.size(), 1u);
  EXPECT_EQ(completed[0].find(
                "info completed auto periodic compaction revision=5 compact-period=20000000000ns took="),
            0u)
      << completed[0];
  life.stop();
}

TEST(CompactionLog, ByRevision) {
  sim::World world(4);
  sim::SimDisk disk(world);
  Config config = life_config();
  config.auto_compaction = Config::AutoCompaction::kRevision;
  config.auto_compaction_retention = 3;
  Life life(world, disk, config);
  for (int i = 0; i < 7; ++i) life.put("k", "v");
  life.pass(301 * io::kSecond);
  EXPECT_EQ(lines_with(life, "starting auto"),
            (std::vector<std::string>{
                "info starting auto revision compaction revision=5 revision-compaction-retention=3"}));
  EXPECT_EQ(life.log.count("info completed auto revision compaction revision=5 "
                           "revision-compaction-retention=3 took="),
            1u);
  life.stop();
}

}  // namespace
}  // namespace quoin::server
