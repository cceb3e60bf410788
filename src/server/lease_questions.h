// Questions about very many leases, or about a lease with very many keys, answered in several tasks of apply.
//
// Threads: called on the apply strand; `done` runs on `executor`. `apply` outlives the work: once it has
// stopped, the answer comes at the next task.
#pragma once
#include <absl/functional/any_invocable.h>

#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "io/executor.h"
#include "server/member.h"

namespace quoin::server {

class ApplyStage;

// Fills in the keys of a lease that exists. They are those of the moments at which they were collected.
// kServerStopped if apply stops.
void collect_lease_keys(ApplyStage& apply, LeaseId id, LeaseTimes times, io::Executor& executor,
                        absl::AnyInvocable<void(Result<LeaseTimes>)> done);

// All leases, those that end first first. kServerStopped if apply stops.
void list_leases(ApplyStage& apply, io::Executor& executor,
                 absl::AnyInvocable<void(Result<std::vector<LeaseId>>)> done);

}  // namespace quoin::server
