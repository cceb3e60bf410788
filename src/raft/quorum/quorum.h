// Majorities and joint majorities: which index is committed, who has won a vote. Pure arithmetic.
//
// A joint configuration needs a majority of both halves. The empty set agrees to everything, so that a
// joint configuration with an empty half behaves like the other half alone.
// Source: spec raft-and-peers 3 (quorum arithmetic); raft paper, section 6.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "raft/member_set.h"

namespace quoin::raft::quorum {

enum class VoteResult : uint8_t { kPending, kLost, kWon };

// What an empty set has committed.
constexpr Index kEverything{UINT64_MAX};

// Members needed for a majority of `n`.
constexpr size_t majority(size_t n) {
  return n / 2 + 1;
}

// The largest index that a majority of `voters` has acknowledged. acked(MemberId) -> std::optional<Index>; a
// member that has not been heard of counts as 0.
template <class Acked>
Index committed_index(const MemberSet& voters, Acked&& acked) {
  const size_t n = voters.size();
  if (n == 0) return kEverything;
  // Configurations of up to seven voters, nearly all there are, stay off the heap.
  std::array<Index, 7> few;
  std::vector<Index> many;
  Index* acks = few.data();
  if (n > few.size()) {
    many.resize(n);
    acks = many.data();
  }
  size_t i = 0;
  for (MemberId id : voters) acks[i++] = acked(id).value_or(Index{0});
  // In ascending order, the majority-th from the end has a majority at or above it.
  Index* nth = acks + (n - majority(n));
  std::nth_element(acks, nth, acks + n);
  return *nth;
}

// vote(MemberId) -> std::optional<bool>; empty: not voted yet.
template <class Vote>
VoteResult vote_result(const MemberSet& voters, Vote&& vote) {
  if (voters.empty()) return VoteResult::kWon;
  size_t yes = 0, missing = 0;
  for (MemberId id : voters) {
    const std::optional<bool> v = vote(id);
    if (!v) {
      ++missing;
    } else if (*v) {
      ++yes;
    }
  }
  const size_t need = majority(voters.size());
  if (yes >= need) return VoteResult::kWon;
  return yes + missing >= need ? VoteResult::kPending : VoteResult::kLost;
}

// Voters of a configuration: `incoming` alone outside a joint one.
struct JointVoters {
  MemberSet incoming, outgoing;

  bool contains(MemberId id) const { return incoming.contains(id) || outgoing.contains(id); }
  // Both halves.
  MemberSet all() const;
  friend bool operator==(const JointVoters&, const JointVoters&) = default;
};

template <class Acked>
Index committed_index(const JointVoters& voters, Acked&& acked) {
  const Index in = committed_index(voters.incoming, acked);
  return voters.outgoing.empty() ? in : std::min(in, committed_index(voters.outgoing, acked));
}

template <class Vote>
VoteResult vote_result(const JointVoters& voters, Vote&& vote) {
  const VoteResult in = vote_result(voters.incoming, vote);
  const VoteResult out = vote_result(voters.outgoing, vote);
  if (in == out) return in;
  if (in == VoteResult::kLost || out == VoteResult::kLost) return VoteResult::kLost;
  return VoteResult::kPending;
}

}  // namespace quoin::raft::quorum
