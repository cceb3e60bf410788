// The membership as a raft snapshot's data shows it, and back. snap/membership_json.h has the text.
//
// Errors: kMalformed from a cluster version that is none.
// Source: spec storage-formats 4.2.
#pragma once
#include "base/result.h"
#include "membership/membership.h"
#include "snap/membership_json.h"

namespace quoin::membership {

// A member's name travels only with its client URLs, as in etcd.
snap::MembershipState snapshot_state(const Membership& membership);
// Members, removed members and version; the ids and the downgrade are not in a snapshot.
Result<Membership> from_snapshot_state(const snap::MembershipState& state);

}  // namespace quoin::membership
