// Handing leadership over, and forgetting a leader. Source: spec raft-and-peers 12; Ongaro's thesis 3.10.
#include "raft/raft.h"

namespace quoin::raft {

// At the leader.
void Raft::on_transfer_leader(const Message& m, tracker::Progress& transferee) {
  if (transferee.is_learner()) {
    observer_.transfer_to_learner_ignored(id_);
    return;
  }
  if (transferee_) {
    if (transferee_ == m.from) {
      observer_.transfer_in_progress(id_, term_, m.from);
      return;
    }
    const MemberId previous = transferee_;
    abort_transfer();
    observer_.transfer_aborted(id_, term_, previous);
  }
  if (m.from == id_) {
    observer_.transfer_to_self_ignored(id_);
    return;
  }
  observer_.transfer_started(id_, term_, m.from);
  // It has one election timeout from now.
  election_elapsed_ = 0;
  transferee_ = m.from;
  if (transferee.match() == log_.last_index()) {
    send_timeout_now(m.from);
    observer_.timeout_now_sent_at_once(id_, m.from);
  } else {
    send_append(m.from, transferee);
  }
}

void Raft::send_timeout_now(MemberId to) {
  Message m;
  m.to = to;
  m.type = MessageType::kTimeoutNow;
  send(std::move(m));
}

// At a follower.
void Raft::on_forget_leader() {
  if (config_.read_only == ReadOnlyOption::kLeaseBased) {
    // Granting votes early would break the lease that the leader's reads rest on.
    observer_.forget_leader_refused();
    return;
  }
  if (!lead_) return;
  observer_.leader_forgotten(id_, lead_, term_);
  lead_ = kNoMember;
}

}  // namespace quoin::raft
