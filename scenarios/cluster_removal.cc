// A ClusterRun and members that leave: what they owe to those that stay, and the one end without progress that is
// nobody's fault.
#include <fmt/format.h>

#include <algorithm>

#include "scenarios/cluster_run.h"

namespace quoin::scenarios {

namespace {
// A member that stays and has heard of a removal makes it durable within this time, on a slow disk too.
constexpr int64_t kDurableNs = 3 * io::kSecond;
}  // namespace

// Whether what m`from` says may miss m`i`, or be lost there.
bool ClusterRun::in_trouble(size_t i, size_t from) {
  const Seat& s = seats_[i];
  const PeerNetwork& net = cluster_.network();
  return !cluster_.running(i) || s.faulty || s.unstick_at != 0 || cluster_.disk(i).power_lost() ||
         cluster_.life(i).failure() || cluster_.life(i).process().paused() || net.faulty() ||
         net.is_cut(cluster_.url(from), cluster_.url(i)) || net.is_cut(cluster_.url(i), cluster_.url(from));
}

// Whoever knows of a removal tells the others. Who was in trouble meanwhile may have missed it, or lost it.
void ClusterRun::watch_removals() {
  const io::MonotonicNs now = cluster_.world().now();
  for (size_t i = 0; i < seats_.size(); ++i) {
    Seat& s = seats_[i];
    if (s.left_at == 0) {
      if (!s.id || !known_as_removed(s.id)) continue;
      s.left_at = now;
    }
    if (s.gone && now > s.gone_at + kDurableNs) continue;
    for (size_t j = 0; j < seats_.size(); ++j) {
      if (j != i && !seats_[j].gone && in_trouble(j, i)) s.not_told.insert(j);
    }
  }
}

bool ClusterRun::known_as_removed(MemberId id) {
  for (size_t i = 0; i < seats_.size(); ++i) {
    if (cluster_.running(i) && cluster_.member(i).peer_handler().removed(id)) return true;
  }
  return false;
}

// One of two voters is removed, and ends. Both have the change in their logs, else it would not be committed; that
// it is committed stands in no log yet. If the other one loses power before it hears of that, or before it has
// made it durable, it waits for a vote that nobody gives any more. raft has no remedy, and etcd has none.
//
// Accepted only where all of that is so: every member that runs counts two voters, itself or another one that runs
// and one that has ended for good; somebody had applied that one's removal; nobody that runs knows of it; nobody
// leads; and the one that stays was in trouble when it would have heard of it. Learners are not asked: one may know of
// the removal, but has no message by which it could tell, and stays with the leader it had.
bool ClusterRun::stranded() {
  std::optional<MemberId> gone;
  bool voter_runs = false;
  for (size_t i = 0; i < seats_.size(); ++i) {
    if (seats_[i].gone) continue;
    if (!cluster_.running(i) || cluster_.life(i).failure() || !seats_[i].started) return false;
    if (cluster_.member(i).learner()) continue;
    if (cluster_.member(i).leader()) return false;
    // A joiner to whom nobody has sent anything yet.
    if (cluster_.member(i).members().empty()) continue;
    size_t voters = 0;
    for (const membership::Member& m : cluster_.member(i).members()) {
      if (m.is_learner) continue;
      ++voters;
      const auto seat = std::ranges::find(seats_, m.id, &Seat::id);
      if (seat == seats_.end()) return false;
      if (!seat->gone) {
        voter_runs = voter_runs || seat - seats_.begin() == static_cast<std::ptrdiff_t>(i);
        continue;
      }
      if (seat->left_at == 0 || (gone && *gone != m.id)) return false;
      if (cluster_.member(i).peer_handler().removed(m.id)) return false;
      gone = m.id;
    }
    if (voters != 2) return false;
  }
  if (!gone || !voter_runs) return false;
  const auto left = std::ranges::find(seats_, *gone, &Seat::id);
  return !left->not_told.empty();
}

// Who has ended before a voter that stays could hear of it, though nothing was in its way.
std::string ClusterRun::left_too_early() {
  std::string out;
  for (size_t i = 0; i < seats_.size(); ++i) {
    const Seat& s = seats_[i];
    if (!s.gone || s.left_at == 0) continue;
    for (size_t j = 0; j < seats_.size(); ++j) {
      if (!cluster_.running(j) || s.not_told.contains(j) || cluster_.member(j).peer_handler().removed(s.id))
        continue;
      const auto members = cluster_.member(j).members();
      if (std::ranges::find(members, s.id, &membership::Member::id) == members.end()) continue;
      out += fmt::format(" m{} was removed, and has ended before m{} was told of it;", i, j);
    }
  }
  return out;
}

}  // namespace quoin::scenarios
