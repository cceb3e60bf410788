// Questions about leases that a member without leadership asks the leader: renewals, and the time that is left.
//
// Threads: called on the apply strand; the answer comes there.
// Errors: kLeaseNotFound, kNoLeader, kTimeout, kServerStopped. Source: spec raft-and-peers 25, 33.
#pragma once
#include <functional>

#include "base/ids.h"
#include "base/result.h"
#include "server/member.h"

namespace quoin::server {

class Stages;

// The granted TTL in seconds.
void renew_at_leader(Stages& stages, LeaseId id, std::function<void(Result<int64_t>)> done);
void lease_times_at_leader(Stages& stages, LeaseId id, bool keys,
                           std::function<void(Result<LeaseTimes>)> done);

}  // namespace quoin::server
