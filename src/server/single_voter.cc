#include "server/single_voter.h"

#include "raft/codec.h"
#include "raft/confchange/confchange.h"

namespace quoin::server {

namespace {

bool alone(const raft::tracker::Config& config, MemberId self) {
  const auto voters = config.voters.all();
  return !config.joint() && voters.size() == 1 && voters.contains(self);
}

}  // namespace

Result<bool> is_single_voter(membership::Membership start, const raft::ConfState& conf_state,
                             std::span<const raft::Entry> entries, Index commit, int64_t max_learners) {
  constexpr size_t kWindow = 1;  // nothing is sent
  raft::tracker::Tracker tracker(kWindow, 0);
  const auto take = [&tracker](raft::confchange::Changed changed) {
    tracker.config = std::move(changed.config);
    tracker.progress = std::move(changed.progress);
  };
  ASSIGN_OR_RETURN(auto restored, raft::confchange::restore(tracker, Index{0}, conf_state));
  take(std::move(restored));
  bool at_commit = false;
  for (const raft::Entry& e : entries) {
    if (e.index > commit && !std::exchange(at_commit, true) && !alone(tracker.config, start.local_id)) {
      return false;
    }
    if (e.type != raft::EntryType::kConfChange) continue;
    // What can't be read ends the member when it is applied, with the entry's place.
    const auto cc = raft::decode_conf_change(e.data);
    if (!cc) continue;
    const auto change = membership::decode_change(*cc);
    if (!change || start.validate(*change, max_learners) != membership::Refusal::kNone) continue;
    start.apply(*change);
    if (auto changed = raft::confchange::apply(tracker, Index{0}, raft::to_v2(*cc)))
      take(std::move(*changed));
  }
  return alone(tracker.config, start.local_id);
}

}  // namespace quoin::server
