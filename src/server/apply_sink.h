// Where the effects of apply go: to consensus and to the `.snap` files. A member's stages implement it; a
// test may play it.
//
// Threads: called on the apply strand. Nothing here waits. Lifetime: outlives the apply stage.
#pragma once
#include <absl/functional/any_invocable.h>

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "io/executor.h"
#include "membership/membership.h"
#include "raft/types.h"
#include "server/proposal.h"

namespace quoin::server {

class ApplySink {
 public:
  virtual ~ApplySink() = default;
  virtual void propose(Proposal proposal) = 0;
  // Everything up to `index` is applied and published. Called before the answers of these entries leave, so
  // that a client that has its answer can count on a linearizable read of it.
  virtual void note_applied(Index index) = 0;
  // The same for raft's flow control: it may hand out further entries.
  virtual void entries_applied(Index last, uint64_t encoded_bytes, uint64_t payload_bytes) = 0;
  // A committed change of the configuration. `done` runs on apply with the configuration it led to; nothing
  // is applied until then.
  virtual void conf_change_applied(raft::ConfChange change, Index at,
                                   absl::AnyInvocable<void(raft::ConfState)> done) = 0;
  // RaftStage::post_compact.
  virtual void compact_log(Index snapshot_index, raft::ConfState conf_state, Blob snapshot_data, Index upto,
                           uint64_t bytes_max) = 0;
  // The log in memory has more than `bytes_max`: a snapshot is wanted as soon as there can be one.
  virtual bool wants_compaction(uint64_t bytes_max) const = 0;
  // A change of the members took effect: whom this member talks to follows it.
  virtual void member_changed(const membership::Change& change) = 0;
  // The members are others, by a received snapshot.
  virtual void members_replaced(const membership::Membership& members) = 0;
  // This member is none any more: it stops in a while.
  virtual void removed_self() = 0;
  // The first entry of a new leader's term, or a configuration change that raft refused.
  virtual void empty_entry_applied() = 0;
  // To the member that `message` names; then snapshot_sent() of the apply stage.
  virtual void send_snapshot(raft::Message message, std::shared_ptr<backend::SnapshotSource> source) = 0;
  // There can be no snapshot for this member now.
  virtual void snapshot_failed(MemberId to) = 0;
  // The state is that of a received snapshot, and its file has the database's name.
  virtual void snapshot_installed(raft::SnapshotMetadata meta) = 0;
  // Writes the `.snap` file and its record in the log; then `done` runs on apply. Not called if the member
  // stops or fails before.
  virtual void save_snapshot(raft::Snapshot snapshot, Task done) = 0;
};

}  // namespace quoin::server
