// Members of one cluster, simulated: what must happen, step by step. Random runs are those of scenarios_cluster.
#include "scenarios/cluster.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace quoin::scenarios {
namespace {

using K = membership::ChangeKind;

membership::Change change_of(K kind, MemberId id, std::vector<std::string> urls = {}) {
  membership::Change c;
  c.kind = kind;
  c.member.id = id;
  c.member.peer_urls = std::move(urls);
  return c;
}

TEST(Cluster, ThreeFoundElectAndWrite) {
  Cluster c(1, 3);
  c.start_all();
  const auto leader = c.wait_leader();
  ASSERT_TRUE(leader);
  ASSERT_TRUE(c.run_until([&] { return c.life(0).ready() && c.life(1).ready() && c.life(2).ready(); }));
  for (size_t i = 0; i < 3; ++i) {
    const Result<> put = c.put(i, fmt::format("k{}", i), "v");
    ASSERT_TRUE(put) << i << ": " << put.error().text();
  }
  for (size_t i = 0; i < 3; ++i) {
    for (size_t k = 0; k < 3; ++k) EXPECT_EQ(c.get(i, fmt::format("k{}", k)).value(), "v");
    EXPECT_EQ(c.member(i).members().size(), 3u);
    EXPECT_EQ(c.member(i).cluster_version(), "3.6.0");
  }
  EXPECT_TRUE(c.wait_equal());
}

TEST(Cluster, TheLeaderDiesAndAnotherOneGoesOn) {
  for (const bool crash : {false, true}) {
    Cluster c(2, 3);
    c.start_all();
    const auto first = c.wait_leader();
    ASSERT_TRUE(first);
    ASSERT_TRUE(c.put(*first, "a", "1"));
    c.kill(*first, crash);
    const auto second = c.wait_leader();
    ASSERT_TRUE(second);
    EXPECT_NE(*first, *second);
    ASSERT_TRUE(c.put(*second, "a", "2"));
    ASSERT_TRUE(c.start(*first));
    EXPECT_TRUE(c.wait_equal());
    EXPECT_EQ(c.get(*first, "a").value(), "2");
  }
}

// A follower that was away for longer than the log reaches gets a snapshot, and goes on from it, also after
// another restart.
TEST(Cluster, AMemberCatchesUpBySnapshot) {
  Cluster c(3, 3);
  for (size_t i = 0; i < 3; ++i) {
    c.config(i).snapshot_count = 50;
    c.config(i).snapshot_catchup_entries = 20;
  }
  c.start_all();
  const auto leader = c.wait_leader();
  ASSERT_TRUE(leader);
  const size_t away = (*leader + 1) % 3;
  ASSERT_TRUE(c.put(*leader, "before", "1"));
  c.kill(away);
  for (int i = 0; i < 400; ++i) ASSERT_TRUE(c.put(*leader, fmt::format("k{}", i % 37), fmt::format("{}", i)));
  ASSERT_TRUE(c.start(away));
  ASSERT_TRUE(c.wait_equal());
  EXPECT_GT(c.network().counts().databases, 0u);
  // In etcd's order, but for the old file, which is closed first here.
  const std::string log = fmt::format("{}", fmt::join(c.life(away).log().lines(), "\n"));
  size_t at = 0;
  for (const std::string_view line : {"applied incoming Raft snapshot",
                                      "applying snapshot",
                                      "closing old backend file",
                                      "closed old backend file",
                                      "applySnapshot: opened snapshot backend",
                                      "restoring lease store",
                                      "restored lease store",
                                      "restoring mvcc store",
                                      "kvstore restored",
                                      "restored mvcc store",
                                      "restoring alarm store",
                                      "restored alarm store",
                                      "restoring v2 store",
                                      "restored v2 store",
                                      "restoring cluster configuration",
                                      "restored cluster configuration",
                                      "removing old peers from network",
                                      "removed old peers from network",
                                      "adding peers from new cluster configuration",
                                      "added peers from new cluster configuration",
                                      "applied snapshot"}) {
    const size_t next = log.find(line, at);
    if (next == std::string::npos) {
      ADD_FAILURE() << line;
    } else {
      at = next;
    }
  }
  EXPECT_EQ(c.get(away, "k0").value(), "370");
  ASSERT_TRUE(c.put(away, "after", "1"));
  c.kill(away, /*crash=*/true);
  ASSERT_TRUE(c.put(*leader, "after", "2"));
  const Result<> again = c.start(away);
  ASSERT_TRUE(again) << again.error().text();
  ASSERT_TRUE(c.wait_equal());
  EXPECT_EQ(c.get(away, "after").value(), "2");
}

// What a member proposes at its start may be part of the snapshot that it gets, and is then never answered.
TEST(Cluster, AMemberThatGetsASnapshotIsReadySoon) {
  Cluster c(6, 3);
  for (size_t i = 0; i < 3; ++i) {
    c.config(i).snapshot_count = 50;
    c.config(i).snapshot_catchup_entries = 20;
  }
  c.start_all();
  const auto leader = c.wait_leader();
  ASSERT_TRUE(leader);
  const size_t away = (*leader + 1) % 3;
  c.kill(away);
  for (int i = 0; i < 150; ++i) ASSERT_TRUE(c.put(*leader, "k", fmt::format("{}", i)));
  ASSERT_TRUE(c.start(away));
  ASSERT_TRUE(c.run_until([&] { return c.member(away).leader().v != 0; }));
  c.network().cut(c.url(*leader), c.url(away));
  c.run_for(100 * io::kMillisecond);
  c.network().mend_all();
  EXPECT_TRUE(c.run_until([&] { return c.life(away).ready(); }, 3 * io::kSecond));
  EXPECT_TRUE(c.life(away).log().contains("applied snapshot"));
}

TEST(Cluster, AMinorityTakesNoWrites) {
  Cluster c(4, 3);
  c.start_all();
  const auto leader = c.wait_leader();
  ASSERT_TRUE(leader);
  for (size_t i = 0; i < 3; ++i) {
    if (i == *leader) continue;
    c.network().cut(c.url(i), c.url(*leader));
    c.network().cut(c.url(*leader), c.url(i));
  }
  EXPECT_FALSE(c.put(*leader, "lost", "1", 3 * io::kSecond));
  EXPECT_FALSE(c.get(*leader, "lost", 3 * io::kSecond));
  const auto next = c.wait_leader();
  ASSERT_TRUE(next);
  EXPECT_NE(*next, *leader);
  ASSERT_TRUE(c.put(*next, "kept", "1"));
  c.network().mend_all();
  ASSERT_TRUE(c.wait_equal());
  EXPECT_EQ(c.get(*leader, "kept").value(), "1");
}

TEST(Cluster, AMemberJoinsAsLearnerIsPromotedAndRemoved) {
  Cluster c(5, 3);
  c.start_all();
  ASSERT_TRUE(c.wait_leader());
  c.run_for(10 * io::kSecond);  // until all count as connected
  const MemberId id{0xabcdef};
  const size_t seat = 3;
  Result<> added = c.change(0, change_of(K::kAddLearner, id, {"http://m3:2380"}));
  ASSERT_TRUE(added) << added.error().text();
  ASSERT_EQ(c.add_seat(), seat);
  const Result<> started = c.start(seat);
  ASSERT_TRUE(started) << started.error().text();
  EXPECT_EQ(c.member(seat).id(), id);
  ASSERT_TRUE(c.run_until([&] { return c.life(seat).ready(); }));
  ASSERT_TRUE(c.wait_equal());
  EXPECT_TRUE(c.member(seat).learner());
  c.run_for(io::kSecond);  // its acknowledgement may be on its way still
  const Result<> promoted = c.change(*c.leader(), change_of(K::kPromote, id));
  ASSERT_TRUE(promoted) << promoted.error().text();
  ASSERT_TRUE(c.put(seat, "from the new one", "1"));
  EXPECT_FALSE(c.member(seat).learner());
  // The leader removes itself: it answers, stops, and another one leads.
  c.run_for(10 * io::kSecond);
  const size_t leader = *c.leader();
  const Result<> removed = c.change(leader, change_of(K::kRemove, c.member(leader).id()));
  ASSERT_TRUE(removed) << removed.error().text();
  ASSERT_TRUE(c.run_until([&] { return c.life(leader).failure().has_value(); }));
  EXPECT_EQ(c.life(leader).failure()->code(), Code::kStopped);
  c.kill(leader);
  const auto next = c.wait_leader();
  ASSERT_TRUE(next);
  ASSERT_TRUE(c.put(*next, "after", "1"));
  EXPECT_TRUE(c.wait_equal());
}

TEST(Cluster, ALearnerThatHasCaughtUpIsPromotedWhereTheGateIsOn) {
  Cluster c(7, 3);
  for (size_t i = 0; i < 3; ++i) c.config(i).promote_learners = true;
  c.start_all();
  ASSERT_TRUE(c.wait_leader());
  c.run_for(10 * io::kSecond);  // until all count as connected
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(c.put(*c.leader(), "k", fmt::format("{}", i)));
  const MemberId id{0xabcdef};
  const size_t seat = 3;
  ASSERT_TRUE(c.change(0, change_of(K::kAddLearner, id, {"http://m3:2380"})));
  ASSERT_EQ(c.add_seat(), seat);
  c.run_for(5 * io::kSecond);
  const auto is_learner = [&] {
    const auto members = c.member(*c.leader()).members();
    return std::ranges::any_of(members, [&](const auto& m) { return m.id == id && m.is_learner; });
  };
  EXPECT_TRUE(is_learner()) << "it has not even started";
  ASSERT_TRUE(c.start(seat));
  ASSERT_TRUE(c.run_until([&] { return c.life(seat).ready(); }));
  ASSERT_TRUE(c.run_until([&] { return !is_learner(); }, 10 * io::kSecond));
  ASSERT_TRUE(c.wait_equal());
  EXPECT_FALSE(c.member(seat).learner());
}

}  // namespace
}  // namespace quoin::scenarios
