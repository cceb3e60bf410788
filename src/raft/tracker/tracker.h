// The configuration a member acts by, the progress of everyone in it, and the votes of a running election.
//
// Invariants (checked by confchange before and after every change):
//   every voter, learner and next learner has a Progress, and nobody else has one
//   learners are disjoint from both halves of the voters
//   learners_next are voters of the outgoing half that become learners when the joint configuration is left
//   outside a joint configuration outgoing and learners_next are empty and auto_leave is false
// Source: spec raft-and-peers 3, 11.
#pragma once
#include <optional>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "raft/member_set.h"
#include "raft/quorum/quorum.h"
#include "raft/tracker/progress.h"
#include "raft/types.h"

namespace quoin::raft::tracker {

struct Config {
  quorum::JointVoters voters;
  MemberSet learners, learners_next;
  bool auto_leave = false;

  bool joint() const { return !voters.outgoing.empty(); }
  ConfState conf_state() const;
  friend bool operator==(const Config&, const Config&) = default;
};

// Equal as sets: two members may have listed the same configuration in different orders.
bool equivalent(const ConfState& a, const ConfState& b);

struct VoteTally {
  size_t granted = 0;
  size_t rejected = 0;
  quorum::VoteResult result = quorum::VoteResult::kPending;
};

struct Tracker {
  Tracker(size_t inflight_messages_max, uint64_t inflight_bytes_max)
      : inflight_messages_max(inflight_messages_max), inflight_bytes_max(inflight_bytes_max) {}

  Config config;
  ProgressMap progress;
  size_t inflight_messages_max;
  uint64_t inflight_bytes_max;

  Inflights new_window() const { return Inflights(inflight_messages_max, inflight_bytes_max); }
  // One voter and no second half: it decides alone.
  bool singleton() const { return config.voters.incoming.size() == 1 && !config.joint(); }
  // The largest index that a quorum has.
  Index committed() const;
  // A quorum of voters has been heard of within this election timeout.
  bool quorum_active() const;

  void reset_votes() { votes_.clear(); }
  // The first vote of a member counts.
  void record_vote(MemberId id, bool granted);
  VoteTally tally_votes() const;

 private:
  std::optional<bool> vote_of(MemberId id) const;
  std::vector<std::pair<MemberId, bool>> votes_;
};

}  // namespace quoin::raft::tracker
