#include "membership/snapshot_state.h"

#include <gtest/gtest.h>

namespace quoin::membership {
namespace {

TEST(SnapshotStateTest, ThroughTheTextAndBack) {
  Membership m;
  for (uint64_t id = 1; id <= 5; ++id) {
    Member x;
    x.id = MemberId(id << 60 | id);
    x.peer_urls = {"http://a:" + std::to_string(id), "http://b:<>"};
    x.is_learner = id == 3;
    if (id != 2) {
      x.name = "m\"" + std::to_string(id);
      x.client_urls = {"http://c"};
    }
    m.members[x.id] = x;
  }
  m.removed = {MemberId(77), MemberId(78)};
  m.version = Version{3, 6, 0};
  const auto read = snap::read_membership_json(snap::write_membership_json(snapshot_state(m), 9));
  ASSERT_TRUE(read) << read.error().text();
  const auto back = from_snapshot_state(read->state);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->members, m.members);
  EXPECT_EQ(back->removed, m.removed);
  EXPECT_EQ(back->version, m.version);

  EXPECT_TRUE(from_snapshot_state(snapshot_state({})).has_value());
  snap::MembershipState odd;
  odd.cluster_version = "x";
  EXPECT_FALSE(from_snapshot_state(odd));
}

}  // namespace
}  // namespace quoin::membership
