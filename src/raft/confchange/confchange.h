// Configuration changes as arithmetic: a configuration and its progress map in, new ones or an error out;
// what came in is left as it was.
//
// Errors: kInvalidArgument with etcd's text: the change is not allowed in this configuration.
// Source: spec raft-and-peers 11.2; Ongaro's thesis, section 4.3.
#pragma once
#include <vector>

#include "base/result.h"
#include "raft/tracker/tracker.h"
#include "raft/types.h"

namespace quoin::raft::confchange {

struct Changed {
  tracker::Config config;
  tracker::ProgressMap progress;
};

// Who is new gets a Progress that starts at `last_index`.
Result<Changed> simple(const tracker::Tracker& from, Index last_index,
                       const std::vector<ConfChangeSingle>& changes);
Result<Changed> enter_joint(const tracker::Tracker& from, Index last_index, bool auto_leave,
                            const std::vector<ConfChangeSingle>& changes);
Result<Changed> leave_joint(const tracker::Tracker& from);

// Whichever of the three the change asks for.
Result<Changed> apply(const tracker::Tracker& from, Index last_index, const ConfChangeV2& change);
// Leaves a joint configuration: no changes and transition auto (the context does not matter).
bool leaves_joint(const ConfChangeV2& change);

// The configuration of a snapshot or of the disk, reached from `empty` by changes of the kinds above. The
// result is equivalent to `state`, or an error tells why it cannot be reached.
Result<Changed> restore(const tracker::Tracker& empty, Index last_index, const ConfState& state);

}  // namespace quoin::raft::confchange
