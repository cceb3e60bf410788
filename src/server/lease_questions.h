// Questions about very many leases, or about a lease with very many keys, answered in several tasks of apply.
//
// Threads: called on the apply strand; `done` runs on `executor`. `apply` outlives the work: once it has
// stopped, the answer comes at the next task.
#pragma once
#include <absl/functional/any_invocable.h>

#include <optional>
#include <vector>

#include "auth/checks.h"
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

// Whether the caller may do that with all keys of these leases: the auth revision it was checked at; 0 while auth is
// off. kServerStopped if apply stops, else those of auth/checks.h.
void check_lease_rights(ApplyStage& apply, LeaseRight right, std::optional<auth::AuthInfo> caller,
                        std::vector<LeaseId> leases, io::Executor& executor,
                        absl::AnyInvocable<void(Result<uint64_t>)> done);

}  // namespace quoin::server
