// The operator of a ClusterRun: what is done by hand where the faults are over and raft alone does not go on. etcd's
// cluster would need the same hand.
#include <algorithm>

#include "scenarios/cluster_run.h"

namespace quoin::scenarios {

// A member that has lost all it knew before it was told who the others are answers a joiner with no members, and the
// joiner takes the word of the first that answers (etcd: "failed to get raft cluster member(s) from the given URLs").
// If the cluster needs the joiner to go on, nobody tells either of them more. The operator stops the one that knows
// nothing until the other has joined.
void ClusterRun::make_way_for_joiners() {
  const std::set<MemberId> members = listed();
  const auto joins = [&](const Seat& s) {
    return !s.founder && !s.was_up && !s.gone && members.contains(s.id) &&
           !cluster_.running(static_cast<size_t>(&s - seats_.data()));
  };
  if (std::ranges::none_of(seats_, joins)) return;
  for (size_t i = 0; i < seats_.size(); ++i) {
    if (!cluster_.running(i) || cluster_.life(i).failure() || !cluster_.member(i).members().empty()) continue;
    edges_.met("stopped to let another one join");
    end_life(i, false, "knows no members, and another one is to join");
  }
}

// Without pre-vote a member raises its term whenever it asks for votes, and raft does not answer who asks in an older
// term. One that has not heard of the newest members asks only those it knows. While its term is ahead, it ignores a
// newer member that it would have to vote for, and that one never hears of its term. Each draws its timeouts alone, so
// that the terms meet by chance and may take hours. --pre-vote, etcd's default, ends it.
bool ClusterRun::outrun_without_pre_vote() {
  if (base_.pre_vote) return false;
  const auto lists = [&](size_t i, MemberId id) {
    const auto members = cluster_.member(i).members();
    return std::ranges::find(members, id, &membership::Member::id) != members.end();
  };
  std::vector<size_t> running;
  for (size_t i = 0; i < seats_.size(); ++i) {
    if (!cluster_.running(i) || cluster_.life(i).failure()) continue;
    // A learner never looks for another leader, and stays with one that is gone.
    if (!cluster_.member(i).learner() && cluster_.member(i).leader()) return false;
    running.push_back(i);
  }
  for (const size_t a : running) {
    for (const size_t b : running) {
      if (lists(b, seats_[a].id) && !lists(a, seats_[b].id) &&
          cluster_.member(a).term() > cluster_.member(b).term())
        return true;
    }
  }
  return false;
}

void ClusterRun::switch_pre_vote_on() {
  edges_.met("pre-vote switched on");
  base_.pre_vote = true;
  for (size_t i = 0; i < seats_.size(); ++i) {
    cluster_.config(i).pre_vote = true;
    if (!cluster_.running(i)) continue;
    end_life(i, false, "is to start with --pre-vote");
    if (!seats_[i].gone) seats_[i].restart_at = cluster_.world().now() + 1;
  }
}

}  // namespace quoin::scenarios
