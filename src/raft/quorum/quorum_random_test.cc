// Quorum arithmetic against slow twins that follow the definition word for word.
#include <gtest/gtest.h>

#include <map>

#include "base/prng.h"
#include "raft/quorum/quorum.h"

namespace quoin::raft::quorum {
namespace {

MemberSet random_set(Prng& rng, uint64_t members_max) {
  MemberSet s;
  for (uint64_t n = rng.below(members_max + 1); n > 0; --n) s.insert(MemberId{rng.between(1, 12)});
  return s;
}

// More than half of the set satisfies `yes`; of an empty set always.
template <class Yes>
bool has_majority(const MemberSet& s, Yes&& yes) {
  size_t n = 0;
  for (MemberId id : s) n += yes(id);
  return s.empty() || 2 * n > s.size();
}

// The largest index among the acknowledged ones, or 0, that a majority has reached.
Index slow_committed(const MemberSet& s, const std::map<MemberId, Index>& acked) {
  if (s.empty()) return kEverything;
  Index best;
  for (const auto& [_, candidate] : acked) {
    const bool ok = has_majority(s, [&, c = candidate](MemberId id) {
      const auto it = acked.find(id);
      return it != acked.end() && it->second >= c;
    });
    if (ok) best = std::max(best, candidate);
  }
  return best;
}

VoteResult slow_vote(const MemberSet& s, const std::map<MemberId, bool>& votes) {
  const auto votes_yes = [&](bool missing_is) {
    return [&votes, missing_is](MemberId id) {
      const auto it = votes.find(id);
      return it == votes.end() ? missing_is : it->second;
    };
  };
  if (has_majority(s, votes_yes(false))) return VoteResult::kWon;
  // Even if everybody else agreed.
  return has_majority(s, votes_yes(true)) ? VoteResult::kPending : VoteResult::kLost;
}

template <class V>
std::map<MemberId, V> random_values(Prng& rng, uint64_t bound) {
  std::map<MemberId, V> m;
  for (uint64_t id = 1; id <= 12; ++id) {
    if (rng.chance(3, 4)) m[MemberId{id}] = static_cast<V>(rng.below(bound));
  }
  return m;
}
template <class V>
auto lookup(const std::map<MemberId, V>& m) {
  return [&m](MemberId id) -> std::optional<V> {
    const auto it = m.find(id);
    if (it == m.end()) return std::nullopt;
    return it->second;
  };
}

TEST(QuorumRandom, CommittedIndexAgreesWithItsDefinition) {
  Prng rng(1);
  for (int i = 0; i < 50'000; ++i) {
    const JointVoters v{random_set(rng, 10), random_set(rng, 5)};
    const auto acked = random_values<Index>(rng, 6);
    const Index in = slow_committed(v.incoming, acked), out = slow_committed(v.outgoing, acked);
    ASSERT_EQ(committed_index(v.incoming, lookup(acked)), in) << i;
    ASSERT_EQ(committed_index(v, lookup(acked)), std::min(in, out)) << i;
    // The halves are equals.
    ASSERT_EQ(committed_index(JointVoters{v.outgoing, v.incoming}, lookup(acked)), std::min(in, out)) << i;
  }
}

TEST(QuorumRandom, VoteAgreesWithItsDefinition) {
  Prng rng(2);
  for (int i = 0; i < 50'000; ++i) {
    const JointVoters v{random_set(rng, 10), random_set(rng, 5)};
    const auto votes = random_values<bool>(rng, 2);
    const VoteResult in = slow_vote(v.incoming, votes), out = slow_vote(v.outgoing, votes);
    ASSERT_EQ(vote_result(v.incoming, lookup(votes)), in) << i;
    const VoteResult joint = in == VoteResult::kLost || out == VoteResult::kLost ? VoteResult::kLost
                             : in == VoteResult::kWon && out == VoteResult::kWon ? VoteResult::kWon
                                                                                 : VoteResult::kPending;
    ASSERT_EQ(vote_result(v, lookup(votes)), joint) << i;
  }
}

}  // namespace
}  // namespace quoin::raft::quorum
