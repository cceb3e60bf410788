// What this member takes from the messages of other members. A member that is broken or hostile must not end this one,
// nor make its term or its indexes wrap; so what no member sends is refused before raft sees it, with a line that says
// why, and counted.
//
// Refused whatever the state (check_received):
//   any message       a local type (MsgHup, MsgBeat, MsgUnreachable, MsgSnapStatus, MsgCheckQuorum, MsgStorage...),
//                     MsgForgetLeader; from nobody, this member or a storage thread; with responses
//                     a number above kNumberMax; a term more than kTermAheadMax above the own one: where terms came to
//                     their end, nobody could be elected any more
//   any but MsgProp, MsgReadIndex
//                     without a term: a candidate would go back to term 0
//   MsgApp            an entry without a term, of a later term than the message, or of an earlier one than the entry
//                     before it
//   MsgProp           without entries; an entry that would end every member that applies it: no request, a
//                     configuration change that names another member than its context or makes something else of it,
//                     one that removes the only voter, one of the second form
//   MsgReadIndex      anything but one entry with a context of 1 to kContextMax bytes
//   MsgHeartbeat, MsgHeartbeatResp
//                     a context above kContextMax
//   MsgSnap           without a snapshot; of no term or a later one than the message; without voters, or with more than
//                     kSnapshotMembersMax members; without its database (Inbound: the file was not kept before, or is none)
//
// Refused by the state of raft (raft/rawnode.cc):
//   MsgApp            entries that do not follow each other
//   MsgAppResp        an index above the leader's last one
//   MsgSnap           a configuration that cannot be
//   responses         from who is no member
//
// Ignored, as in etcd: lower terms, snapshots at or below the commit index, what is meant for another role.
//
// Ends the member, as in etcd, since its log has lost what it promised or the cluster has another one:
//   MsgHeartbeat      a commit index beyond the last entry ("tocommit(...) is out of range")
//   entries of a leader that cannot be applied: they are part of the log, and who skips one has another state
//
// Threads: free functions without state. Source: spec raft-and-peers 4, 10, 11, 17.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "membership/membership.h"
#include "raft/types.h"

namespace quoin::server {

constexpr uint64_t kNumberMax = uint64_t{1} << 62;
// Of a cluster that elects a thousand leaders a second for thirty years.
constexpr uint64_t kTermAheadMax = uint64_t{1} << 40;
constexpr size_t kContextMax = 256;  // etcd's have 8 bytes
constexpr size_t kSnapshotMembersMax = 256;

// kInvalidArgument for what only a member itself may say, kMalformed for the rest, with the reason as the text.
// `members`: as applied here.
Result<> check_received(const raft::Message& message, MemberId self, Term own_term,
                        const membership::Membership& members);

}  // namespace quoin::server
