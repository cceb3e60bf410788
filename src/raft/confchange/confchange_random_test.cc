// Random changes of a configuration against a slow twin: what each member is afterwards, told member by
// member.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "base/prng.h"
#include "raft/confchange/confchange.h"
#include "raft/describe.h"

namespace quoin::raft::confchange {
namespace {

using Changes = std::vector<ConfChangeSingle>;

// One member's part in a configuration.
struct Part {
  bool incoming = false, outgoing = false, learner = false, learner_next = false;
  bool tracked() const { return incoming || outgoing || learner; }
};

struct Twin {
  std::map<MemberId, Part> parts;
  bool joint = false;

  void apply(const ConfChangeSingle& c) {
    if (!c.node_id) return;
    Part& p = parts[c.node_id];
    switch (c.type) {
      case ConfChangeType::kAddNode:
        p.incoming = true;
        p.learner = p.learner_next = false;
        break;
      case ConfChangeType::kAddLearnerNode:
        if (p.learner) break;
        p.incoming = false;
        (p.outgoing ? p.learner_next : p.learner) = true;
        break;
      case ConfChangeType::kRemoveNode:
        p.incoming = p.learner = p.learner_next = false;
        break;
      case ConfChangeType::kUpdateNode:
        break;
    }
  }
  size_t voters() const {
    size_t n = 0;
    for (const auto& [_, p] : parts) n += p.incoming;
    return n;
  }
  static size_t voters_changed(const Twin& a, const Twin& b) {
    size_t n = 0;
    for (uint64_t id = 1; id <= 9; ++id) {
      const auto voter = [id](const Twin& t) {
        const auto it = t.parts.find(MemberId{id});
        return it != t.parts.end() && it->second.incoming;
      };
      n += voter(a) != voter(b);
    }
    return n;
  }
  void enter() {
    joint = true;
    for (auto& [_, p] : parts) p.outgoing = p.incoming;
  }
  void leave() {
    joint = false;
    for (auto& [_, p] : parts) {
      if (p.learner_next) p.learner = true;
      p.outgoing = p.learner_next = false;
    }
  }
};

void expect_same(const Twin& twin, const Changed& c) {
  size_t tracked = 0;
  for (const auto& [id, p] : twin.parts) {
    const tracker::Config& cfg = c.config;
    ASSERT_EQ(cfg.voters.incoming.contains(id), p.incoming) << id.v;
    ASSERT_EQ(cfg.voters.outgoing.contains(id), p.outgoing) << id.v;
    ASSERT_EQ(cfg.learners.contains(id), p.learner) << id.v;
    ASSERT_EQ(cfg.learners_next.contains(id), p.learner_next) << id.v;
    const tracker::Progress* progress = c.progress.find(id);
    ASSERT_EQ(progress != nullptr, p.tracked()) << id.v;
    ASSERT_TRUE(!progress || progress->is_learner() == p.learner) << id.v;
    tracked += p.tracked();
  }
  ASSERT_EQ(c.progress.size(), tracked);
}

Changes random_changes(Prng& rng) {
  Changes out;
  for (uint64_t n = rng.below(5); n > 0; --n) {
    out.push_back({static_cast<ConfChangeType>(rng.below(4)), MemberId{rng.below(7)}});
  }
  return out;
}

TEST(ConfChangeRandom, AgreesWithMemberByMemberTwin) {
  Prng rng(3);
  int applied = 0, refused = 0;
  for (int run = 0; run < 500; ++run) {
    tracker::Tracker tracker(10, 0);
    Twin twin;
    for (uint64_t step = 0; step < 40; ++step) {
      const Changes changes = random_changes(rng);
      Twin next = twin;
      bool allowed = false;
      Result<Changed> r = Code::kInvalidArgument;
      const Index last{step};
      switch (rng.below(3)) {
        case 0:
          r = simple(tracker, last, changes);
          for (const auto& c : changes) next.apply(c);
          allowed = !twin.joint && next.voters() > 0 && Twin::voters_changed(twin, next) <= 1;
          break;
        case 1:
          r = enter_joint(tracker, last, rng.chance(1, 2), changes);
          next.enter();
          for (const auto& c : changes) next.apply(c);
          allowed = !twin.joint && twin.voters() > 0 && next.voters() > 0;
          break;
        default:
          r = leave_joint(tracker);
          next.leave();
          allowed = twin.joint;
      }
      ASSERT_EQ(r.has_value(), allowed) << (r ? "" : std::string(r.error().text()));
      ++(allowed ? applied : refused);
      if (!allowed) continue;
      twin = next;
      tracker.config = r->config;
      tracker.progress = r->progress;
      expect_same(twin, *r);
      if (HasFatalFailure()) return;

      // The same configuration is reached from its description alone.
      const auto again = restore(tracker::Tracker(10, 0), last, r->config.conf_state());
      ASSERT_TRUE(again.has_value()) << again.error().text() << " " << describe(r->config);
      ASSERT_EQ(describe(again->config), describe(r->config));
    }
  }
  EXPECT_GT(applied, 1000);
  EXPECT_GT(refused, 1000);
}

TEST(ConfChangeRandom, RestoreFindsAnOrderForAnyOrderGiven) {
  Prng rng(4);
  for (int i = 0; i < 2000; ++i) {
    // Every member drawn into at most one place of each half.
    ConfState cs;
    for (uint64_t id = 1; id <= 8; ++id) {
      const uint64_t place = rng.below(6);
      if (place <= 1) cs.voters.push_back(MemberId{id});
      if (place == 1 || place == 2 || place == 3) cs.voters_outgoing.push_back(MemberId{id});
      if (place == 3) cs.learners_next.push_back(MemberId{id});
      if (place == 4) cs.learners.push_back(MemberId{id});
    }
    if (cs.voters.empty()) continue;
    cs.auto_leave = !cs.voters_outgoing.empty() && rng.chance(1, 2);
    for (auto* list : {&cs.voters, &cs.voters_outgoing, &cs.learners, &cs.learners_next}) {
      for (size_t k = list->size(); k > 1; --k) std::swap((*list)[k - 1], (*list)[rng.below(k)]);
    }
    const auto r = restore(tracker::Tracker(10, 0), Index{5}, cs);
    ASSERT_TRUE(r.has_value()) << describe(cs) << ": " << r.error().text();
    ASSERT_TRUE(tracker::equivalent(r->config.conf_state(), cs)) << describe(cs);
  }
  ConfState impossible;
  impossible.learners_next = {MemberId{1}};
  EXPECT_FALSE(restore(tracker::Tracker(10, 0), Index{5}, impossible));
}

}  // namespace
}  // namespace quoin::raft::confchange
