// Turns what raft observes into etcd's log lines: level and text, word for word (spec raft-and-peers 18).
//
// Threads: as Observer. line() is called for one line after another, in order; the view ends with the call.
#pragma once
#include <fmt/format.h>

#include <string_view>

#include "raft/observer.h"

namespace quoin::raft {

enum class LineLevel : uint8_t { kDebug, kInfo, kWarning, kError };

class RenderingObserver : public Observer {
 public:
  // Asked before anything is formatted.
  virtual bool enabled(LineLevel level) const = 0;
  virtual void line(LineLevel level, std::string_view text) = 0;

  // ---- Observer ----
  void started(MemberId, const MemberSet&, Term, Index, Index, EntryId) override;
  void became(MemberId, Role, Term) override;
  void election_started(MemberId, Term) override;
  void vote_requested(MemberId, EntryId, MessageType, MemberId, Term) override;
  void vote_received(MemberId, MessageType, MemberId, bool, Term) override;
  void votes_tallied(MemberId, MessageType, size_t, size_t) override;
  void vote_cast(const VoteContext&) override;
  void vote_rejected(const VoteContext&) override;
  void vote_ignored_in_lease(const VoteContext&, int) override;
  void higher_term_received(MemberId, Term, MessageType, MemberId, Term) override;
  void lower_term_ignored(MemberId, Term, MessageType, MemberId, Term) override;
  void stale_append_ack_ignored(MemberId, Term, MessageType, Term) override;

  void no_leader_for_proposal(MemberId, Term) override;
  void no_leader_for_transfer(MemberId, Term) override;
  void no_leader_for_read_index(MemberId, Term) override;
  void forwarding_disabled(MemberId, MemberId, Term) override;
  void conf_change_ignored(MemberId, const Entry&, const tracker::Config&, const Error&) override;
  void configuration_switched(MemberId, const tracker::Config&) override;
  void auto_leave_started(const tracker::Config&) override;
  void timeout_now_sent_after_ack(MemberId, MemberId) override;
  void timeout_now_sent_at_once(MemberId, MemberId) override;
  void transfer_started(MemberId, Term, MemberId) override;
  void transfer_in_progress(MemberId, Term, MemberId) override;
  void transfer_aborted(MemberId, Term, MemberId) override;
  void timeout_now_received(MemberId, Term, MemberId) override;
  void leader_forgotten(MemberId, MemberId, Term) override;

  void log_restore_started(const LogCursors&, EntryId) override;
  void snapshot_restored(MemberId, Index, EntryId, EntryId) override;
  void snapshot_accepted(MemberId, Index, EntryId) override;
  void snapshot_ignored(MemberId, Index, EntryId) override;
  void commit_fast_forwarded(MemberId, Index, EntryId, EntryId) override;
  void conflict_found(Index, Term, Term) override;
  void unstable_replaced(Index) override;
  void unstable_truncated(Index) override;
  void stable_ack_missing(Index) override;
  void stable_ack_for_snapshot(Index) override;
  void stable_ack_mismatched(EntryId, EntryId) override;

  void leader_elected(MemberId, MemberId, Term) override;
  void leader_changed(MemberId, MemberId, MemberId, Term) override;
  void leader_lost(MemberId, MemberId, Term) override;

  void stepped_down_without_quorum(MemberId) override;
  void unpromotable(MemberId) override;
  void campaign_awaits_conf_change(MemberId, Term) override;
  void uncommitted_limit_reached(MemberId) override;
  void snapshot_received_as_leader(MemberId) override;
  void not_in_snapshot_config(MemberId, const ConfState&) override;
  void forget_leader_refused() override;
  void invalid_read_index_response(MemberId, MemberId, size_t) override;
  void read_index_released_too_early() override;

  void append_rejected(MemberId, Term, EntryId, MemberId) override;
  void rejection_received(MemberId, Index, Term, MemberId, Index) override;
  void progress_decreased(MemberId, MemberId, const tracker::Progress&) override;
  void snapshot_sent(MemberId, Index, Index, EntryId, MemberId, const tracker::Progress&) override;
  void replication_paused(MemberId, MemberId, const tracker::Progress&) override;
  void snapshot_not_sent_to_inactive(MemberId) override;
  void snapshot_unavailable(MemberId, MemberId) override;
  void recovered_from_snapshot(MemberId, MemberId, const tracker::Progress&) override;
  void snapshot_reported(MemberId, MemberId, bool, const tracker::Progress&) override;
  void peer_unreachable(MemberId, MemberId, const tracker::Progress&) override;
  void hup_ignored_as_leader(MemberId) override;
  void no_progress_for(MemberId, MemberId) override;
  void proposal_dropped_in_transfer(MemberId, Term, MemberId) override;
  void transfer_to_learner_ignored(MemberId) override;
  void transfer_to_self_ignored(MemberId) override;
  void timeout_now_ignored(MemberId, Term, Role, MemberId) override;
  void auto_leave_refused(const tracker::Config&, const Error&) override;

 private:
  template <class... A>
  void put(LineLevel level, fmt::format_string<A...> format, A&&... args);
};

}  // namespace quoin::raft
