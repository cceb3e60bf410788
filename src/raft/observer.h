// What raft has to tell about its decisions: one method for each log line of etcd's raft (spec
// raft-and-peers 18), in the order of that table. raft formats nothing; RenderingObserver (render.h) turns
// the calls into text.
//
// Threads: called on the strand that owns the node, from within its methods; an observer must not call back
// into the node. References live during the call.
#pragma once
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "raft/member_set.h"
#include "raft/tracker/tracker.h"
#include "raft/types.h"

namespace quoin::raft {

// The cursors of a log, as one line shows them.
struct LogCursors {
  Index committed, applied, applying;
  Index unstable_offset, unstable_offset_in_progress;
  size_t unstable_entries = 0;
};

// Shared by the lines about a vote request: who was asked, what it has, who asks, what that one has.
struct VoteContext {
  MemberId self;
  EntryId last;
  MemberId vote;
  MessageType type;
  MemberId candidate;
  EntryId candidate_last;
  Term term;
};

class Observer {
 public:
  virtual ~Observer() = default;

  // ---- info: life of a node, elections ----
  virtual void started(MemberId /*self*/, const MemberSet& /*voters*/, Term, Index /*commit*/,
                       Index /*applied*/, EntryId /*last*/) {}
  virtual void became(MemberId /*self*/, Role, Term) {}
  virtual void election_started(MemberId /*self*/, Term) {}
  virtual void vote_requested(MemberId /*self*/, EntryId /*last*/, MessageType, MemberId /*from*/, Term) {}
  virtual void vote_received(MemberId /*self*/, MessageType, MemberId /*from*/, bool /*granted*/, Term) {}
  virtual void votes_tallied(MemberId /*self*/, MessageType, size_t /*granted*/, size_t /*rejected*/) {}
  virtual void vote_cast(const VoteContext&) {}
  virtual void vote_rejected(const VoteContext&) {}
  virtual void vote_ignored_in_lease(const VoteContext&, int /*remaining_ticks*/) {}
  virtual void higher_term_received(MemberId /*self*/, Term, MessageType, MemberId /*from*/,
                                    Term /*message*/) {}
  virtual void lower_term_ignored(MemberId /*self*/, Term, MessageType, MemberId /*from*/, Term /*message*/) {
  }
  virtual void stale_append_ack_ignored(MemberId /*self*/, Term, MessageType, Term /*message*/) {}

  // ---- info: proposals, configuration, transfer ----
  virtual void no_leader_for_proposal(MemberId /*self*/, Term) {}
  virtual void no_leader_for_transfer(MemberId /*self*/, Term) {}
  virtual void no_leader_for_read_index(MemberId /*self*/, Term) {}
  virtual void forwarding_disabled(MemberId /*self*/, MemberId /*lead*/, Term) {}
  // `entry` carries the refused change.
  virtual void conf_change_ignored(MemberId /*self*/, const Entry& /*entry*/, const tracker::Config&,
                                   const Error& /*why*/) {}
  virtual void configuration_switched(MemberId /*self*/, const tracker::Config&) {}
  virtual void auto_leave_started(const tracker::Config&) {}
  virtual void timeout_now_sent_after_ack(MemberId /*self*/, MemberId /*transferee*/) {}
  virtual void timeout_now_sent_at_once(MemberId /*self*/, MemberId /*transferee*/) {}
  virtual void transfer_started(MemberId /*self*/, Term, MemberId /*transferee*/) {}
  virtual void transfer_in_progress(MemberId /*self*/, Term, MemberId /*transferee*/) {}
  virtual void transfer_aborted(MemberId /*self*/, Term, MemberId /*previous*/) {}
  virtual void timeout_now_received(MemberId /*self*/, Term, MemberId /*from*/) {}
  virtual void leader_forgotten(MemberId /*self*/, MemberId /*lead*/, Term) {}

  // ---- info: snapshots and the log ----
  virtual void log_restore_started(const LogCursors&, EntryId /*snapshot*/) {}
  virtual void snapshot_restored(MemberId /*self*/, Index /*commit*/, EntryId /*last*/,
                                 EntryId /*snapshot*/) {}
  virtual void snapshot_accepted(MemberId /*self*/, Index /*commit*/, EntryId /*snapshot*/) {}
  virtual void snapshot_ignored(MemberId /*self*/, Index /*commit*/, EntryId /*snapshot*/) {}
  virtual void commit_fast_forwarded(MemberId /*self*/, Index /*commit*/, EntryId /*last*/,
                                     EntryId /*snapshot*/) {}
  virtual void conflict_found(Index, Term /*existing*/, Term /*conflicting*/) {}
  virtual void unstable_replaced(Index /*from*/) {}
  virtual void unstable_truncated(Index /*before*/) {}
  virtual void stable_ack_missing(Index) {}
  virtual void stable_ack_for_snapshot(Index) {}
  virtual void stable_ack_mismatched(EntryId /*acked*/, EntryId /*held*/) {}

  // ---- info: what etcd's node loop adds (see LeaderWatch) ----
  virtual void leader_elected(MemberId /*self*/, MemberId /*lead*/, Term) {}
  virtual void leader_changed(MemberId /*self*/, MemberId /*before*/, MemberId /*lead*/, Term) {}
  virtual void leader_lost(MemberId /*self*/, MemberId /*before*/, Term) {}

  // ---- warnings and errors ----
  virtual void stepped_down_without_quorum(MemberId /*self*/) {}
  virtual void unpromotable(MemberId /*self*/) {}
  virtual void campaign_awaits_conf_change(MemberId /*self*/, Term) {}
  virtual void uncommitted_limit_reached(MemberId /*self*/) {}
  virtual void snapshot_received_as_leader(MemberId /*self*/) {}
  virtual void not_in_snapshot_config(MemberId /*self*/, const ConfState&) {}
  virtual void forget_leader_refused() {}
  virtual void invalid_read_index_response(MemberId /*self*/, MemberId /*from*/, size_t /*entries*/) {}
  virtual void read_index_released_too_early() {}

  // ---- debug ----
  virtual void append_rejected(MemberId /*self*/, Term /*own, 0: none*/, EntryId /*previous*/,
                               MemberId /*from*/) {}
  virtual void rejection_received(MemberId /*self*/, Index /*hint*/, Term /*hint*/, MemberId /*from*/,
                                  Index /*rejected*/) {}
  virtual void progress_decreased(MemberId /*self*/, MemberId /*peer*/, const tracker::Progress&) {}
  virtual void snapshot_sent(MemberId /*self*/, Index /*first*/, Index /*commit*/, EntryId /*snapshot*/,
                             MemberId /*peer*/, const tracker::Progress&) {}
  virtual void replication_paused(MemberId /*self*/, MemberId /*peer*/, const tracker::Progress&) {}
  virtual void snapshot_not_sent_to_inactive(MemberId /*peer*/) {}
  virtual void snapshot_unavailable(MemberId /*self*/, MemberId /*peer*/) {}
  virtual void recovered_from_snapshot(MemberId /*self*/, MemberId /*peer*/, const tracker::Progress&) {}
  virtual void snapshot_reported(MemberId /*self*/, MemberId /*peer*/, bool /*succeeded*/,
                                 const tracker::Progress&) {}
  virtual void peer_unreachable(MemberId /*self*/, MemberId /*peer*/, const tracker::Progress&) {}
  virtual void hup_ignored_as_leader(MemberId /*self*/) {}
  virtual void no_progress_for(MemberId /*self*/, MemberId /*peer*/) {}
  virtual void proposal_dropped_in_transfer(MemberId /*self*/, Term, MemberId /*transferee*/) {}
  virtual void transfer_to_learner_ignored(MemberId /*self*/) {}
  virtual void transfer_to_self_ignored(MemberId /*self*/) {}
  virtual void timeout_now_ignored(MemberId /*self*/, Term, Role, MemberId /*from*/) {}
  virtual void auto_leave_refused(const tracker::Config&, const Error& /*why*/) {}
};

}  // namespace quoin::raft
