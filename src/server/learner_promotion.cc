#include "server/learner_promotion.h"

#include <algorithm>

#include "membership/member.h"
#include "server/stages.h"

namespace quoin::server {

namespace {
constexpr int64_t kAfterRefusalNs = 30 * io::kSecond;
}

void LearnerPromotion::look() {
  if (promotion_ && s_.env.clock.monotonic() - promotion_->began > s_.config.request_timeout_ns()) {
    s_.waiters.give_up(promotion_->id);
    promotion_.reset();
  }
  const auto members = s_.apply.members();
  const auto is_learner = [](const membership::Member& m) { return m.is_learner; };
  if (!s_.apply.leading() || std::ranges::none_of(members->list(), is_learner)) return goals_.clear();
  if (asking_ || promotion_) return;
  asking_ = true;
  s_.raft.post_followers(s_.env.apply, [this](const std::vector<RaftStage::Follower>& followers) {
    asking_ = false;
    if (!s_.apply.stopped()) judge(followers);
  });
}

void LearnerPromotion::judge(const std::vector<RaftStage::Follower>& followers) {
  const auto leader = std::ranges::find(followers, s_.self, &RaftStage::Follower::id);
  if (leader == followers.end()) return goals_.clear();
  std::map<MemberId, Index> goals;
  MemberId ready;
  for (const RaftStage::Follower& f : followers) {
    if (!f.learner) continue;
    const auto goal = goals_.find(f.id);
    if (goal != goals_.end() && f.match >= goal->second && s_.peers.active_since(f.id)) ready = f.id;
    goals[f.id] = leader->match;
  }
  goals_ = std::move(goals);
  if (!ready || s_.env.clock.monotonic() < not_before_) return;
  LOG(s_.env.log, kInfo, "promoting a learner that has caught up", {"local-member-id", log::Hex{s_.self.v}},
      {"learner-id", log::Hex{ready.v}});
  promotion_ = {s_.ids.next(), s_.env.clock.monotonic()};
  s_.admin.promote(
      promotion_->id, ready, {}, s_.env.apply,
      [this, ready, id = promotion_->id](const Result<std::vector<membership::Member>>& promoted) {
        if (promotion_ && promotion_->id == id) promotion_.reset();
        if (promoted) return;
        not_before_ = s_.env.clock.monotonic() + kAfterRefusalNs;
        LOG(s_.env.log, kWarn, "failed to promote a learner that has caught up",
            {"learner-id", log::Hex{ready.v}}, {"error", promoted.error().text()});
      });
}

}  // namespace quoin::server
