#include "raft/render.h"

#include <fmt/format.h>

#include "raft/describe.h"

namespace quoin::raft {
namespace {

std::string_view vote_word(bool granted) {
  return granted ? "" : " rejection";
}

std::string vote_line(const VoteContext& c, std::string_view verb, std::string_view preposition) {
  return fmt::format(
      "{:x} [logterm: {}, index: {}, vote: {:x}] {} {} {} {:x} [logterm: {}, index: {}] at term {}", c.self,
      c.last.term, c.last.index, c.vote, verb, name_of(c.type), preposition, c.candidate,
      c.candidate_last.term, c.candidate_last.index, c.term);
}

std::string_view role_word(Role role) {
  switch (role) {
    case Role::kFollower:
      return "follower";
    case Role::kCandidate:
      return "candidate";
    case Role::kLeader:
      return "leader";
    case Role::kPreCandidate:
      return "pre-candidate";
  }
  return "";
}

// Go's %v of a slice of numbers.
std::string ids_value(const std::vector<MemberId>& ids) {
  std::string out;
  for (MemberId id : ids) out += fmt::format("{}{}", out.empty() ? "" : " ", id);
  return "[" + out + "]";
}

}  // namespace

template <class... A>
void RenderingObserver::put(LineLevel level, fmt::format_string<A...> format, A&&... args) {
  if (enabled(level)) line(level, fmt::format(format, std::forward<A>(args)...));
}

// ---- info: life of a node, elections ----

void RenderingObserver::started(MemberId self, const MemberSet& voters, Term term, Index commit,
                                Index applied, EntryId last) {
  if (!enabled(LineLevel::kInfo)) return;
  std::string peers;
  for (MemberId id : voters) peers += fmt::format("{}{:x}", peers.empty() ? "" : ",", id);
  put(LineLevel::kInfo,
      "newRaft {:x} [peers: [{}], term: {}, commit: {}, applied: {}, lastindex: {}, lastterm: {}]", self,
      peers, term, commit, applied, last.index, last.term);
}
void RenderingObserver::became(MemberId self, Role role, Term term) {
  put(LineLevel::kInfo, "{:x} became {} at term {}", self, role_word(role), term);
}
void RenderingObserver::election_started(MemberId self, Term term) {
  put(LineLevel::kInfo, "{:x} is starting a new election at term {}", self, term);
}
void RenderingObserver::vote_requested(MemberId self, EntryId last, MessageType type, MemberId from,
                                       Term term) {
  put(LineLevel::kInfo, "{:x} [logterm: {}, index: {}] sent {} request to {:x} at term {}", self, last.term,
      last.index, name_of(type), from, term);
}
void RenderingObserver::vote_received(MemberId self, MessageType type, MemberId from, bool granted,
                                      Term term) {
  put(LineLevel::kInfo, "{:x} received {}{} from {:x} at term {}", self, name_of(type), vote_word(granted),
      from, term);
}
void RenderingObserver::votes_tallied(MemberId self, MessageType type, size_t granted, size_t rejected) {
  put(LineLevel::kInfo, "{:x} has received {} {} votes and {} vote rejections", self, granted, name_of(type),
      rejected);
}
void RenderingObserver::vote_cast(const VoteContext& c) {
  if (enabled(LineLevel::kInfo)) line(LineLevel::kInfo, vote_line(c, "cast", "for"));
}
void RenderingObserver::vote_rejected(const VoteContext& c) {
  if (enabled(LineLevel::kInfo)) line(LineLevel::kInfo, vote_line(c, "rejected", "from"));
}
void RenderingObserver::vote_ignored_in_lease(const VoteContext& c, int remaining_ticks) {
  if (!enabled(LineLevel::kInfo)) return;
  put(LineLevel::kInfo, "{}: lease is not expired (remaining ticks: {})", vote_line(c, "ignored", "from"),
      remaining_ticks);
}
void RenderingObserver::higher_term_received(MemberId self, Term term, MessageType type, MemberId from,
                                             Term theirs) {
  put(LineLevel::kInfo, "{:x} [term: {}] received a {} message with higher term from {:x} [term: {}]", self,
      term, name_of(type), from, theirs);
}
void RenderingObserver::lower_term_ignored(MemberId self, Term term, MessageType type, MemberId from,
                                           Term theirs) {
  put(LineLevel::kInfo, "{:x} [term: {}] ignored a {} message with lower term from {:x} [term: {}]", self,
      term, name_of(type), from, theirs);
}
void RenderingObserver::stale_append_ack_ignored(MemberId self, Term term, MessageType type, Term theirs) {
  put(LineLevel::kInfo, "{:x} [term: {}] ignored entry appends from a {} message with lower term [term: {}]",
      self, term, name_of(type), theirs);
}

// ---- info: proposals, configuration, transfer ----

void RenderingObserver::no_leader_for_proposal(MemberId self, Term term) {
  put(LineLevel::kInfo, "{:x} no leader at term {}; dropping proposal", self, term);
}
void RenderingObserver::no_leader_for_transfer(MemberId self, Term term) {
  put(LineLevel::kInfo, "{:x} no leader at term {}; dropping leader transfer msg", self, term);
}
void RenderingObserver::no_leader_for_read_index(MemberId self, Term term) {
  put(LineLevel::kInfo, "{:x} no leader at term {}; dropping index reading msg", self, term);
}
void RenderingObserver::forwarding_disabled(MemberId self, MemberId lead, Term term) {
  put(LineLevel::kInfo, "{:x} not forwarding to leader {:x} at term {}; dropping proposal", self, lead, term);
}
void RenderingObserver::conf_change_ignored(MemberId self, const Entry& entry, const tracker::Config& config,
                                            const Error& why) {
  if (!enabled(LineLevel::kInfo)) return;
  put(LineLevel::kInfo, "{:x} ignoring conf change {} at config {}: {}", self, go_value_of_change(entry),
      describe(config), why.text());
}
void RenderingObserver::configuration_switched(MemberId self, const tracker::Config& config) {
  if (!enabled(LineLevel::kInfo)) return;
  put(LineLevel::kInfo, "{:x} switched to configuration {}", self, describe(config));
}
void RenderingObserver::auto_leave_started(const tracker::Config& config) {
  if (!enabled(LineLevel::kInfo)) return;
  put(LineLevel::kInfo, "initiating automatic transition out of joint configuration {}", describe(config));
}
void RenderingObserver::timeout_now_sent_after_ack(MemberId self, MemberId transferee) {
  put(LineLevel::kInfo, "{:x} sent MsgTimeoutNow to {:x} after received MsgAppResp", self, transferee);
}
void RenderingObserver::timeout_now_sent_at_once(MemberId self, MemberId transferee) {
  put(LineLevel::kInfo, "{:x} sends MsgTimeoutNow to {:x} immediately as {:x} already has up-to-date log",
      self, transferee, transferee);
}
void RenderingObserver::transfer_started(MemberId self, Term term, MemberId transferee) {
  put(LineLevel::kInfo, "{:x} [term {}] starts to transfer leadership to {:x}", self, term, transferee);
}
void RenderingObserver::transfer_in_progress(MemberId self, Term term, MemberId transferee) {
  put(LineLevel::kInfo,
      "{:x} [term {}] transfer leadership to {:x} is in progress, ignores request to same node {:x}", self,
      term, transferee, transferee);
}
void RenderingObserver::transfer_aborted(MemberId self, Term term, MemberId previous) {
  put(LineLevel::kInfo, "{:x} [term {}] abort previous transferring leadership to {:x}", self, term,
      previous);
}
void RenderingObserver::timeout_now_received(MemberId self, Term term, MemberId from) {
  put(LineLevel::kInfo,
      "{:x} [term {}] received MsgTimeoutNow from {:x} and starts an election to get leadership.", self, term,
      from);
}
void RenderingObserver::leader_forgotten(MemberId self, MemberId lead, Term term) {
  put(LineLevel::kInfo, "{:x} forgetting leader {:x} at term {}", self, lead, term);
}

// ---- info: snapshots and the log ----

void RenderingObserver::log_restore_started(const LogCursors& c, EntryId snapshot) {
  put(LineLevel::kInfo,
      "log [committed={}, applied={}, applying={}, unstable.offset={}, unstable.offsetInProgress={}, "
      "len(unstable.Entries)={}] starts to restore snapshot [index: {}, term: {}]",
      c.committed, c.applied, c.applying, c.unstable_offset, c.unstable_offset_in_progress,
      c.unstable_entries, snapshot.index, snapshot.term);
}
void RenderingObserver::snapshot_restored(MemberId self, Index commit, EntryId last, EntryId snapshot) {
  put(LineLevel::kInfo,
      "{:x} [commit: {}, lastindex: {}, lastterm: {}] restored snapshot [index: {}, term: {}]", self, commit,
      last.index, last.term, snapshot.index, snapshot.term);
}
void RenderingObserver::snapshot_accepted(MemberId self, Index commit, EntryId snapshot) {
  put(LineLevel::kInfo, "{:x} [commit: {}] restored snapshot [index: {}, term: {}]", self, commit,
      snapshot.index, snapshot.term);
}
void RenderingObserver::snapshot_ignored(MemberId self, Index commit, EntryId snapshot) {
  put(LineLevel::kInfo, "{:x} [commit: {}] ignored snapshot [index: {}, term: {}]", self, commit,
      snapshot.index, snapshot.term);
}
void RenderingObserver::commit_fast_forwarded(MemberId self, Index commit, EntryId last, EntryId snapshot) {
  put(LineLevel::kInfo,
      "{:x} [commit: {}, lastindex: {}, lastterm: {}] fast-forwarded commit to snapshot [index: {}, term: "
      "{}]",
      self, commit, last.index, last.term, snapshot.index, snapshot.term);
}
void RenderingObserver::conflict_found(Index index, Term existing, Term conflicting) {
  put(LineLevel::kInfo, "found conflict at index {} [existing term: {}, conflicting term: {}]", index,
      existing, conflicting);
}
void RenderingObserver::unstable_replaced(Index from) {
  put(LineLevel::kInfo, "replace the unstable entries from index {}", from);
}
void RenderingObserver::unstable_truncated(Index before) {
  put(LineLevel::kInfo, "truncate the unstable entries before index {}", before);
}
void RenderingObserver::stable_ack_missing(Index index) {
  put(LineLevel::kInfo, "entry at index {} missing from unstable log; ignoring", index);
}
void RenderingObserver::stable_ack_for_snapshot(Index index) {
  put(LineLevel::kInfo, "entry at index {} matched unstable snapshot; ignoring", index);
}
void RenderingObserver::stable_ack_mismatched(EntryId acked, EntryId held) {
  put(LineLevel::kInfo,
      "entry at (index,term)=({},{}) mismatched with entry at ({},{}) in unstable log; ignoring", acked.index,
      acked.term, held.index, held.term);
}

// ---- info: the node loop ----

void RenderingObserver::leader_elected(MemberId self, MemberId lead, Term term) {
  put(LineLevel::kInfo, "raft.node: {:x} elected leader {:x} at term {}", self, lead, term);
}
void RenderingObserver::leader_changed(MemberId self, MemberId before, MemberId lead, Term term) {
  put(LineLevel::kInfo, "raft.node: {:x} changed leader from {:x} to {:x} at term {}", self, before, lead,
      term);
}
void RenderingObserver::leader_lost(MemberId self, MemberId before, Term term) {
  put(LineLevel::kInfo, "raft.node: {:x} lost leader {:x} at term {}", self, before, term);
}

// ---- warnings and errors ----

void RenderingObserver::stepped_down_without_quorum(MemberId self) {
  put(LineLevel::kWarning, "{:x} stepped down to follower since quorum is not active", self);
}
void RenderingObserver::unpromotable(MemberId self) {
  put(LineLevel::kWarning, "{:x} is unpromotable and can not campaign", self);
}
void RenderingObserver::campaign_awaits_conf_change(MemberId self, Term term) {
  put(LineLevel::kWarning,
      "{:x} cannot campaign at term {} since there are still pending configuration changes to apply", self,
      term);
}
void RenderingObserver::uncommitted_limit_reached(MemberId self) {
  put(LineLevel::kWarning,
      "{:x} appending new entries to log would exceed uncommitted entry size limit; dropping proposal", self);
}
void RenderingObserver::snapshot_received_as_leader(MemberId self) {
  put(LineLevel::kWarning, "{:x} attempted to restore snapshot as leader; should never happen", self);
}
void RenderingObserver::not_in_snapshot_config(MemberId self, const ConfState& cs) {
  if (!enabled(LineLevel::kWarning)) return;
  put(LineLevel::kWarning,
      "{:x} attempted to restore snapshot but it is not in the ConfState {{{} {} {} {} {}}}; should never "
      "happen",
      self, ids_value(cs.voters), ids_value(cs.learners), ids_value(cs.voters_outgoing),
      ids_value(cs.learners_next), cs.auto_leave);
}
void RenderingObserver::forget_leader_refused() {
  put(LineLevel::kError, "ignoring MsgForgetLeader due to ReadOnlyLeaseBased");
}
void RenderingObserver::invalid_read_index_response(MemberId self, MemberId from, size_t entries) {
  put(LineLevel::kError, "{:x} invalid format of MsgReadIndexResp from {:x}, entries count: {}", self, from,
      entries);
}
void RenderingObserver::read_index_released_too_early() {
  put(LineLevel::kError, "pending MsgReadIndex should be released only after first commit in current term");
}

// ---- debug ----

void RenderingObserver::append_rejected(MemberId self, Term own, EntryId previous, MemberId from) {
  put(LineLevel::kDebug, "{:x} [logterm: {}, index: {}] rejected MsgApp [logterm: {}, index: {}] from {:x}",
      self, own, previous.index, previous.term, previous.index, from);
}
void RenderingObserver::rejection_received(MemberId self, Index hint, Term hint_term, MemberId from,
                                           Index rejected) {
  put(LineLevel::kDebug,
      "{:x} received MsgAppResp(rejected, hint: (index {}, term {})) from {:x} for index {}", self, hint,
      hint_term, from, rejected);
}
void RenderingObserver::progress_decreased(MemberId self, MemberId peer, const tracker::Progress& p) {
  if (!enabled(LineLevel::kDebug)) return;
  put(LineLevel::kDebug, "{:x} decreased progress of {:x} to [{}]", self, peer, describe(p));
}
void RenderingObserver::snapshot_sent(MemberId self, Index first, Index commit, EntryId snapshot,
                                      MemberId peer, const tracker::Progress& p) {
  if (!enabled(LineLevel::kDebug)) return;
  put(LineLevel::kDebug, "{:x} [firstindex: {}, commit: {}] sent snapshot[index: {}, term: {}] to {:x} [{}]",
      self, first, commit, snapshot.index, snapshot.term, peer, describe(p));
}
void RenderingObserver::replication_paused(MemberId self, MemberId peer, const tracker::Progress& p) {
  if (!enabled(LineLevel::kDebug)) return;
  put(LineLevel::kDebug, "{:x} paused sending replication messages to {:x} [{}]", self, peer, describe(p));
}
void RenderingObserver::snapshot_not_sent_to_inactive(MemberId peer) {
  put(LineLevel::kDebug, "ignore sending snapshot to {:x} since it is not recently active", peer);
}
void RenderingObserver::snapshot_unavailable(MemberId self, MemberId peer) {
  put(LineLevel::kDebug, "{:x} failed to send snapshot to {:x} because snapshot is temporarily unavailable",
      self, peer);
}
void RenderingObserver::recovered_from_snapshot(MemberId self, MemberId peer, const tracker::Progress& p) {
  if (!enabled(LineLevel::kDebug)) return;
  put(LineLevel::kDebug,
      "{:x} recovered from needing snapshot, resumed sending replication messages to {:x} [{}]", self, peer,
      describe(p));
}
void RenderingObserver::snapshot_reported(MemberId self, MemberId peer, bool succeeded,
                                          const tracker::Progress& p) {
  if (!enabled(LineLevel::kDebug)) return;
  put(LineLevel::kDebug, "{:x} snapshot {}, resumed sending replication messages to {:x} [{}]", self,
      succeeded ? "succeeded" : "failed", peer, describe(p));
}
void RenderingObserver::peer_unreachable(MemberId self, MemberId peer, const tracker::Progress& p) {
  if (!enabled(LineLevel::kDebug)) return;
  put(LineLevel::kDebug, "{:x} failed to send message to {:x} because it is unreachable [{}]", self, peer,
      describe(p));
}
void RenderingObserver::hup_ignored_as_leader(MemberId self) {
  put(LineLevel::kDebug, "{:x} ignoring MsgHup because already leader", self);
}
void RenderingObserver::no_progress_for(MemberId self, MemberId peer) {
  put(LineLevel::kDebug, "{:x} no progress available for {:x}", self, peer);
}
void RenderingObserver::proposal_dropped_in_transfer(MemberId self, Term term, MemberId transferee) {
  put(LineLevel::kDebug, "{:x} [term {}] transfer leadership to {:x} is in progress; dropping proposal", self,
      term, transferee);
}
void RenderingObserver::transfer_to_learner_ignored(MemberId self) {
  put(LineLevel::kDebug, "{:x} is learner. Ignored transferring leadership", self);
}
void RenderingObserver::transfer_to_self_ignored(MemberId self) {
  put(LineLevel::kDebug, "{:x} is already leader. Ignored transferring leadership to self", self);
}
void RenderingObserver::timeout_now_ignored(MemberId self, Term term, Role role, MemberId from) {
  put(LineLevel::kDebug, "{:x} [term {} state {}] ignored MsgTimeoutNow from {:x}", self, term, name_of(role),
      from);
}
void RenderingObserver::auto_leave_refused(const tracker::Config& config, const Error& why) {
  if (!enabled(LineLevel::kDebug)) return;
  put(LineLevel::kDebug, "not initiating automatic transition out of joint configuration {}: {}",
      describe(config), why.text());
}

}  // namespace quoin::raft
