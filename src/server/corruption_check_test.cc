// A member's checks of its own data, on a simulated machine.
#include "server/corruption_check.h"

#include <gtest/gtest.h>

#include "server/life_test.h"
#include "server/peer_hashes.h"

namespace quoin::server {
namespace {

Config checking_config() {
  Config c = life_config();
  c.initial_corrupt_check = true;
  c.corrupt_check_ns = 4 * io::kSecond;
  c.compact_hash_check = true;
  c.compact_hash_check_ns = 3 * io::kSecond;
  c.bootstrap_defrag_mib = 1;
  return c;
}

TEST(CorruptionCheck, OfAMemberAlone) {
  sim::World world(5);
  sim::SimDisk disk(world);
  {
    Life life(world, disk, checking_config());
    // Not at the first start: there is nothing to check.
    EXPECT_FALSE(life.log.contains("starting initial corruption check"));
    EXPECT_EQ(life.log.count("Skipping defragmentation current-db-size-bytes="), 1u);
    EXPECT_TRUE(
        life.log.contains("experimental-bootstrap-defrag-threshold-bytes=1048576 "
                          "experimental-bootstrap-defrag-threshold=1048576B"));
    EXPECT_EQ(life.log.count("enabled corruption checking local-member-id="), 1u);
    for (int i = 0; i < 6; ++i) life.put("k", "v");
    life.compact(3);
    life.compact(5);
    life.pass(9 * io::kSecond);
    EXPECT_EQ(life.log.count("finished peer corruption check number-of-peers-checked=0"), 2u);
    EXPECT_FALSE(life.log.contains("found hash mismatch"));
    // Nothing confirms a hash, so every round looks at both.
    EXPECT_EQ(life.log.count("starting compact hash check local-member-id="), 3u);
    EXPECT_GE(life.log.count("finished compaction hash check number-of-hashes-checked=2"), 2u);
    life.stop();
    EXPECT_TRUE(life.log.contains("stopping kv hash's monitor"));
    EXPECT_TRUE(life.log.contains("stopping compact hash's monitor"));
  }
  Life again(world, disk, checking_config());
  EXPECT_EQ(again.log.count("starting initial corruption check"), 1u);
  EXPECT_EQ(again.log.count("initial corruption checking passed; no corruption"), 1u);
  again.stop();
}

TEST(CorruptionCheck, StopsInTheMiddleOfACheck) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    sim::World world(seed);
    sim::SimDisk disk(world);
    Config c = checking_config();
    c.corrupt_check_ns = 10 * io::kMillisecond;
    Life life(world, disk, c);
    life.put("k", "v");
    life.pass(static_cast<int64_t>(seed) * io::kMillisecond);
    life.stop();
  }
}

TEST(CorruptionCheck, TwoHashesOfOneStateMustBeEqual) {
  const mvcc::HashKvResult first{1, 5, 9};
  EXPECT_FALSE(hashes_contradict(first, {1, 5, 9}));
  EXPECT_TRUE(hashes_contradict(first, {2, 5, 9}));
  EXPECT_FALSE(hashes_contradict(first, {2, 5, 10}));  // written meanwhile
  EXPECT_FALSE(hashes_contradict(first, {2, 6, 9}));   // compacted meanwhile
}

// What a member's peer port says about its hash.
TEST(PeerHashes, AnswersAreRead) {
  const auto answer = [](unsigned status, std::string body) {
    PeerAnswer a;
    a.status = status;
    a.body = std::move(body);
    return parse_peer_hash(a);
  };
  const auto good =
      answer(200, R"({"header":{"revision":3},"hash":2782514397,"compact_revision":-1,"hash_revision":3})");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->hash, 2782514397u);
  EXPECT_EQ(good->compact_revision, -1);
  EXPECT_EQ(good->revision, 3);
  EXPECT_EQ(answer(400, "mvcc: required revision has been compacted\n").error().code(), Code::kCompacted);
  EXPECT_EQ(answer(400, "mvcc: required revision is a future revision\n").error().code(), Code::kFutureRev);
  EXPECT_EQ(answer(412, "cluster ID mismatch\n").error().text(), "cluster ID mismatch");
  EXPECT_FALSE(answer(404, "404 page not found\n"));
  for (const std::string_view body : {"", "[]", "7", "{", "null"}) {
    EXPECT_FALSE(answer(200, std::string(body))) << body;
  }
}

}  // namespace
}  // namespace quoin::server
