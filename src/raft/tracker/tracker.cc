#include "raft/tracker/tracker.h"

#include <algorithm>

namespace quoin::raft::tracker {

ConfState Config::conf_state() const {
  ConfState cs;
  cs.voters = voters.incoming.ids();
  cs.learners = learners.ids();
  cs.voters_outgoing = voters.outgoing.ids();
  cs.learners_next = learners_next.ids();
  cs.auto_leave = auto_leave;
  return cs;
}

bool equivalent(const ConfState& a, const ConfState& b) {
  const auto same = [](std::vector<MemberId> x, std::vector<MemberId> y) {
    std::sort(x.begin(), x.end());
    std::sort(y.begin(), y.end());
    return x == y;
  };
  return same(a.voters, b.voters) && same(a.learners, b.learners) &&
         same(a.voters_outgoing, b.voters_outgoing) && same(a.learners_next, b.learners_next) &&
         a.auto_leave == b.auto_leave;
}

Index Tracker::committed() const {
  return quorum::committed_index(config.voters, [this](MemberId id) -> std::optional<Index> {
    const Progress* p = progress.find(id);
    if (!p) return std::nullopt;
    return p->match();
  });
}

bool Tracker::quorum_active() const {
  const auto active = [this](MemberId id) -> std::optional<bool> {
    const Progress* p = progress.find(id);
    if (!p || p->is_learner()) return std::nullopt;
    return p->recent_active();
  };
  return quorum::vote_result(config.voters, active) == quorum::VoteResult::kWon;
}

std::optional<bool> Tracker::vote_of(MemberId id) const {
  for (const auto& [voter, granted] : votes_) {
    if (voter == id) return granted;
  }
  return std::nullopt;
}

void Tracker::record_vote(MemberId id, bool granted) {
  if (!vote_of(id)) votes_.emplace_back(id, granted);
}

VoteTally Tracker::tally_votes() const {
  VoteTally tally;
  for (const auto& [id, p] : progress) {
    // Learners may answer, but theirs are no votes.
    const std::optional<bool> vote = p.is_learner() ? std::nullopt : vote_of(id);
    if (!vote) continue;
    ++(*vote ? tally.granted : tally.rejected);
  }
  tally.result = quorum::vote_result(config.voters, [this](MemberId id) { return vote_of(id); });
  return tally;
}

}  // namespace quoin::raft::tracker
