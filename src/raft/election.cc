// Campaigns and votes. Source: spec raft-and-peers 6; raft paper 5.2, 5.4.1; Ongaro's thesis 9.6 (pre-vote).
#include "base/check.h"
#include "raft/raft.h"

namespace quoin::raft {

VoteContext Raft::vote_context(const Message& m, Term term) const {
  return {id_, log_.last_id(), vote_, m.type, m.from, {m.log_term, m.index}, term};
}

void Raft::hup(Campaign kind) {
  if (role_ == Role::kLeader) {
    observer_.hup_ignored_as_leader(id_);
    return;
  }
  if (!promotable()) {
    observer_.unpromotable(id_);
    return;
  }
  // The configuration in use may be one that a committed entry has already replaced.
  if (log_.has_unapplied_conf_change()) {
    observer_.campaign_awaits_conf_change(id_, term_);
    return;
  }
  observer_.election_started(id_, term_);
  campaign(kind);
}

void Raft::campaign(Campaign kind) {
  Term term;
  MessageType request, response;
  if (kind == Campaign::kPreElection) {
    become_pre_candidate();
    request = MessageType::kPreVote;
    response = MessageType::kPreVoteResp;
    term = term_ + 1;
  } else {
    become_candidate();
    request = MessageType::kVote;
    response = MessageType::kVoteResp;
    term = term_;
  }
  const EntryId last = log_.last_id();
  for (MemberId voter : tracker_.config.voters.all()) {
    Message m;
    m.to = voter;
    m.term = term;
    if (voter == id_) {
      // The own vote counts once it is durable, like everybody's.
      m.type = response;
    } else {
      observer_.vote_requested(id_, last, request, voter, term_);
      m.type = request;
      m.index = last.index;
      m.log_term = last.term;
      if (kind == Campaign::kTransfer) m.context = Blob::copy(kCampaignTransfer);
    }
    send(std::move(m));
  }
}

void Raft::on_vote_request(const Message& m) {
  const bool pre_vote = m.type == MessageType::kPreVote;
  const bool can_vote = vote_ == m.from || (!vote_ && !lead_) || (pre_vote && m.term > term_);
  Message reply;
  reply.to = m.from;
  reply.type = pre_vote ? MessageType::kPreVoteResp : MessageType::kVoteResp;
  // A learner votes like the others: it may have been promoted by an entry that it has not seen yet.
  if (can_vote && log_.up_to_date({m.log_term, m.index})) {
    observer_.vote_cast(vote_context(m, term_));
    // The term of the request, not the own one: a pre-vote is granted for a term this member is not in.
    reply.term = m.term;
    send(std::move(reply));
    if (!pre_vote) {
      election_elapsed_ = 0;
      vote_ = m.from;
    }
    return;
  }
  observer_.vote_rejected(vote_context(m, term_));
  reply.term = term_;
  reply.reject = true;
  send(std::move(reply));
}

quorum::VoteResult Raft::poll(MemberId from, MessageType type, bool granted) {
  observer_.vote_received(id_, type, from, granted, term_);
  tracker_.record_vote(from, granted);
  const tracker::VoteTally tally = tracker_.tally_votes();
  observer_.votes_tallied(id_, type, tally.granted, tally.rejected);
  return tally.result;
}

void Raft::on_vote_response(const Message& m) {
  const MessageType wanted =
      role_ == Role::kPreCandidate ? MessageType::kPreVoteResp : MessageType::kVoteResp;
  if (m.type != wanted) return;
  switch (poll(m.from, m.type, !m.reject)) {
    case quorum::VoteResult::kWon:
      if (role_ == Role::kPreCandidate) {
        campaign(Campaign::kElection);
      } else {
        become_leader();
        broadcast_append();
      }
      break;
    case quorum::VoteResult::kLost:
      // Not the term of the answer: a granted pre-vote carries one that nobody is in.
      become_follower(term_, kNoMember);
      break;
    case quorum::VoteResult::kPending:
      break;
  }
}

}  // namespace quoin::raft
