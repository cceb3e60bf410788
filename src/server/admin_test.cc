// Changes of the members whose clients wait, go, or are refused.
#include "server/admin.h"

#include "server/life_test.h"

namespace quoin::server {
namespace {

using K = membership::ChangeKind;

membership::Change change_of(K kind, uint64_t id, std::string url = {}) {
  membership::Change c;
  c.kind = kind;
  c.member.id = MemberId(id);
  if (!url.empty()) c.member.peer_urls.push_back(std::move(url));
  return c;
}

class AdminLife : public Life {
 public:
  using Life::Life;
  double metric(std::string_view name, std::string_view label = {}) {
    double value = -1;
    metrics_.visit([&](const metrics::Family& f) {
      if (f.name != name) return;
      for (const metrics::Cell& c : f.cells) {
        if (!label.empty() && (c.labels.empty() || c.labels.front().second != label)) continue;
        if (const auto* g = std::get_if<const metrics::Gauge*>(&c.source)) value = (*g)->value();
        if (const auto* n = std::get_if<const metrics::Counter*>(&c.source))
          value = static_cast<double>((*n)->value());
        if (const auto* read = std::get_if<std::function<double()>>(&c.source)) value = (*read)();
      }
    });
    return value;
  }
  // The error's text, "ok", or nothing if no answer comes within `ns`.
  std::string change(membership::Change c, int64_t ns = kMaxNs) {
    auto outcome = std::make_shared<std::string>();
    const uint64_t id = member().next_id();
    MembersDone done = [outcome](Result<std::vector<membership::Member>> r) {
      *outcome = r ? "ok" : std::string(r.error().text());
    };
    if (c.kind == K::kPromote) {
      member().admin().promote(id, c.member.id, "", loop(), std::move(done));
    } else {
      member().admin().change(id, std::move(c), loop(), std::move(done));
    }
    world_.run_until([&] { return !outcome->empty(); }, ns);
    if (outcome->empty()) on_loop([&](ClientPort& port) { port.give_up(id); });
    return *outcome;
  }
  void on_loop(const std::function<void(ClientPort&)>& work) {
    ClientPort port(member(), loop());
    bool over = false;
    loop().post([&] {
      work(port);
      over = true;
    });
    ASSERT_TRUE(run_until([&] { return over; }));
  }
};

class AdminTest : public ::testing::Test {
 protected:
  sim::World world_{3};
  sim::SimDisk disk_{world_};
  AdminLife life_{world_, disk_, life_config()};
};

// It goes before the change is proposed, at whatever moment: nothing is proposed and nothing waits.
TEST_F(AdminTest, AClientThatGoesAtOnceLeavesNothing) {
  for (const bool promotion : {false, true}) {
    bool answered = false;
    life_.on_loop([&](ClientPort& port) {
      const uint64_t id = life_.member().next_id();
      MembersDone done = [&](Result<std::vector<membership::Member>>) { answered = true; };
      if (promotion) {
        life_.member().admin().promote(id, MemberId(7), "", life_.loop(), std::move(done));
      } else {
        life_.member().admin().change(id, change_of(K::kAddLearner, 7, "http://h:1"), life_.loop(),
                                      std::move(done));
      }
      port.give_up(id);
    });
    life_.pass(5 * io::kSecond);
    EXPECT_FALSE(answered);
    EXPECT_EQ(life_.metric("etcd_server_proposals_pending"), 0);
    EXPECT_EQ(life_.metric("etcd_server_proposals_failed_total"), 0);
    EXPECT_EQ(life_.member().members().size(), 1u);
  }
}

// A change that never comes to pass waits for as long as its client does, and no longer.
TEST_F(AdminTest, AClientThatGoesWhileNothingCanBeDecidedLeavesNothing) {
  ASSERT_EQ(life_.change(change_of(K::kAdd, 7, "http://h:1")), "ok");
  // Two voters, one of which is not there.
  EXPECT_EQ(life_.change(change_of(K::kUpdate, 7, "http://h:2"), 60 * io::kSecond), "");
  life_.pass(io::kSecond);
  EXPECT_EQ(life_.metric("etcd_server_proposals_pending"), 0);
}

TEST_F(AdminTest, CountsPromotions) {
  EXPECT_EQ(life_.metric("etcd_server_learner_promote_successes"), 0);
  EXPECT_EQ(life_.metric("etcd_server_learner_promote_failures"), -1);
  EXPECT_EQ(life_.metric("etcd_server_is_learner"), 0);
  EXPECT_EQ(life_.change(change_of(K::kPromote, 7)), "etcdserver: member not found");
  EXPECT_EQ(life_.metric("etcd_server_learner_promote_failures", "membership: ID not found"), 1);
  const MemberId self = life_.member().id();
  EXPECT_EQ(life_.change(change_of(K::kPromote, self.v)), "etcdserver: can only promote a learner member");
  EXPECT_EQ(
      life_.metric("etcd_server_learner_promote_failures", "membership: can only promote a learner member"),
      1);
  ASSERT_EQ(life_.change(change_of(K::kAddLearner, 7, "http://h:1")), "ok");
  const std::string behind = "etcdserver: can only promote a learner member which is in sync with leader";
  EXPECT_EQ(life_.change(change_of(K::kPromote, 7)), behind);
  EXPECT_EQ(life_.metric("etcd_server_learner_promote_failures", behind), 1);
  EXPECT_EQ(life_.metric("etcd_server_learner_promote_successes"), 0);
}

}  // namespace
}  // namespace quoin::server
