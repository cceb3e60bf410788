// Whether a member can go on alone from a log: while this program does not talk to other members, a directory
// of a cluster with several voters must be refused by name. Started, it would wait for votes for ever and,
// without pre-vote, write ever higher terms into its log.
#pragma once
#include <span>

#include "base/result.h"
#include "membership/membership.h"
#include "raft/types.h"

namespace quoin::server {

// `start` and `conf_state`: members and configuration where the log begins; `entries` follow, committed up to
// `commit`. kUnsupported unless this member is the only voter both there and at the end of the log (a change
// that is not committed yet will be). A log that shrank from several voters to this one is fine.
Result<> check_single_voter(membership::Membership start, const raft::ConfState& conf_state,
                            std::span<const raft::Entry> entries, Index commit, int64_t max_learners);

}  // namespace quoin::server
