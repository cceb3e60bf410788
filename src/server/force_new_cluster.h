// --force-new-cluster: a member alone, whatever its log says of others.
//
// Commit rises to what the database already holds; entries beyond it are dropped; configuration changes that
// add this member if need be and remove everybody else are appended and committed. A learner cannot found a cluster
// and is refused, where etcd panics. Source: spec raft-and-peers 29, operations 2.4.
#pragma once
#include <vector>

#include "base/result.h"
#include "raft/types.h"

namespace quoin::server {

// Changes hard state and entries in place; returns the entries that were appended, which the log does not
// hold yet. `also`: members that only the database knows, since the log was cut; they are removed, too.
// Errors: kCorruption if a configuration entry cannot be read; kInvalidArgument for a learner.
Result<std::vector<raft::Entry>> force_new_cluster(MemberId self, const raft::ConfState& at_snapshot,
                                                   Index consistent, raft::HardState* hard_state,
                                                   std::vector<raft::Entry>* entries,
                                                   const std::vector<MemberId>& also = {});

}  // namespace quoin::server
