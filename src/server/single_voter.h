// Whether a member is the only voter of its cluster, as far as its log says: then it need not wait for an
// election timeout.
#pragma once
#include <span>

#include "base/result.h"
#include "membership/membership.h"
#include "raft/types.h"

namespace quoin::server {

// `start` and `conf_state`: members and configuration where the log begins; `entries` follow, committed up to
// `commit`. True if this member is the only voter both there and at the end of the log (a change that is not
// committed yet may be). Errors: a configuration that cannot be.
Result<bool> is_single_voter(membership::Membership start, const raft::ConfState& conf_state,
                             std::span<const raft::Entry> entries, Index commit, int64_t max_learners);

}  // namespace quoin::server
