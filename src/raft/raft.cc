// State, terms, roles, ticks, and the gate that every message passes. Source: spec raft-and-peers 2 to 5, 16.
#include "raft/raft.h"

#include <algorithm>

#include "base/check.h"
#include "raft/codec.h"

namespace quoin::raft {

Result<> validate(const Config& c) {
  const auto refuse = [](const char* text) { return Error(Code::kInvalidArgument, text); };
  if (!c.id) return refuse("cannot use none as id");
  if (is_storage_thread(c.id)) return refuse("cannot use local target as id");
  if (c.heartbeat_ticks <= 0) return refuse("heartbeat tick must be greater than 0");
  if (c.election_ticks <= c.heartbeat_ticks)
    return refuse("election tick must be greater than heartbeat tick");
  if (c.inflight_messages_max == 0) return refuse("max inflight messages must be greater than 0");
  if (c.inflight_bytes_max != 0 && c.inflight_bytes_max < c.message_bytes_max) {
    return refuse("max inflight bytes must be >= max message size");
  }
  if (c.read_only == ReadOnlyOption::kLeaseBased && !c.check_quorum) {
    return refuse("CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased");
  }
  return {};
}

Raft::Raft(const Config& config, const Storage& storage, Prng& prng, Observer& observer)
    : config_(config),
      id_(config.id),
      observer_(observer),
      prng_(prng),
      log_(storage, observer,
           config.committed_bytes_per_ready_max ? config.committed_bytes_per_ready_max
                                                : config.message_bytes_max),
      tracker_(config.inflight_messages_max, config.inflight_bytes_max) {
  CHECK(validate(config).has_value());
  const Storage::InitialState initial = storage.initial_state();
  auto restored = confchange::restore(tracker_, log_.last_index(), initial.conf_state);
  CHECK(restored.has_value(), "{}", restored.error().text());
  switch_to(std::move(*restored));
  if (!initial.hard_state.empty()) load(initial.hard_state);
  if (config.applied) log_.applied_to(config.applied, 0);
  become_follower(term_, kNoMember);
  observer_.started(id_, tracker_.config.voters.all(), term_, log_.committed(), log_.applied(),
                    log_.last_id());
}

void Raft::load(const HardState& hs) {
  CHECK(hs.commit >= log_.committed() && hs.commit <= log_.last_index(),
        "{:x} state.commit {} is out of range [{}, {}]", id_, hs.commit, log_.committed(), log_.last_index());
  log_.set_committed(hs.commit);
  term_ = hs.term;
  vote_ = hs.vote;
}

void Raft::bootstrap(std::vector<Entry> entries) {
  become_follower(Term{1}, kNoMember);
  const Index last = log_.append(entries);
  log_.set_committed(last);
}

bool Raft::promotable() const {
  const tracker::Progress* self = tracker_.progress.find(id_);
  return self && !self->is_learner() && !log_.has_snapshot();
}

// ---- roles ----

void Raft::reset(Term term) {
  if (term_ != term) {
    term_ = term;
    vote_ = kNoMember;
  }
  lead_ = kNoMember;
  election_elapsed_ = heartbeat_elapsed_ = 0;
  randomized_election_ticks_ =
      config_.election_ticks + static_cast<int>(prng_.below(static_cast<uint64_t>(config_.election_ticks)));
  abort_transfer();
  tracker_.reset_votes();
  const Index last = log_.last_index();
  for (auto& [id, progress] : tracker_.progress) {
    progress = tracker::Progress(id == id_ ? last : Index{0}, last + 1, tracker_.new_window(),
                                 progress.is_learner(), false);
  }
  pending_conf_index_ = Index{0};
  uncommitted_bytes_ = 0;
  reads_.clear();
}

void Raft::become_follower(Term term, MemberId lead) {
  reset(term);
  lead_ = lead;
  role_ = Role::kFollower;
  observer_.became(id_, role_, term_);
}

void Raft::become_candidate() {
  CHECK(role_ != Role::kLeader, "invalid transition [leader -> candidate]");
  reset(term_ + 1);
  vote_ = id_;
  role_ = Role::kCandidate;
  observer_.became(id_, role_, term_);
}

// Asks around before disturbing anyone: neither the term nor the vote nor a timer changes.
void Raft::become_pre_candidate() {
  CHECK(role_ != Role::kLeader, "invalid transition [leader -> pre-candidate]");
  tracker_.reset_votes();
  lead_ = kNoMember;
  role_ = Role::kPreCandidate;
  observer_.became(id_, role_, term_);
}

void Raft::become_leader() {
  CHECK(role_ != Role::kFollower, "invalid transition [follower -> leader]");
  reset(term_);
  lead_ = id_;
  role_ = Role::kLeader;
  tracker::Progress* self = tracker_.progress.find(id_);
  CHECK(self != nullptr);
  self->become_replicate();
  self->set_recent_active(true);
  // There may be an unapplied configuration change anywhere in the log: better wait in vain than look for it.
  pending_conf_index_ = log_.last_index();
  std::vector<Entry> first(1);
  CHECK(append_own(std::move(first)), "empty entry was dropped");
  observer_.became(id_, role_, term_);
}

// ---- time ----

void Raft::tick() {
  if (role_ == Role::kLeader) {
    tick_heartbeat();
  } else {
    tick_election();
  }
}

void Raft::tick_election() {
  ++election_elapsed_;
  if (!promotable() || election_elapsed_ < randomized_election_ticks_) return;
  election_elapsed_ = 0;
  hup(config_.pre_vote ? Campaign::kPreElection : Campaign::kElection);
}

void Raft::tick_heartbeat() {
  ++heartbeat_elapsed_;
  ++election_elapsed_;
  if (election_elapsed_ >= config_.election_ticks) {
    election_elapsed_ = 0;
    if (config_.check_quorum) on_check_quorum();
    // A transfer that takes longer than an election has failed; clients have waited long enough.
    if (role_ == Role::kLeader) abort_transfer();
  }
  if (role_ != Role::kLeader || heartbeat_elapsed_ < config_.heartbeat_ticks) return;
  heartbeat_elapsed_ = 0;
  broadcast_heartbeat(reads_.last_context());
}

void Raft::on_check_quorum() {
  if (!tracker_.quorum_active()) {
    observer_.stepped_down_without_quorum(id_);
    become_follower(term_, kNoMember);
  }
  for_each_peer([](MemberId, tracker::Progress& p) { p.set_recent_active(false); });
}

// ---- sending ----

void Raft::send(Message&& m) {
  if (!m.from) m.from = id_;
  switch (m.type) {
    case MessageType::kVote:
    case MessageType::kVoteResp:
    case MessageType::kPreVote:
    case MessageType::kPreVoteResp:
      // A pre-vote speaks of a term that nobody is in yet, so its sender has to say which.
      CHECK(m.term, "term should be set when sending vote message {}", static_cast<int>(m.type));
      break;
    default:
      CHECK(!m.term, "term should not be set when sending message {} (was {})", static_cast<int>(m.type),
            m.term);
      // Forwarded requests are their author's, not this term's.
      if (m.type != MessageType::kProp && m.type != MessageType::kReadIndex) m.term = term_;
  }
  switch (m.type) {
    case MessageType::kAppResp:
    case MessageType::kVoteResp:
    case MessageType::kPreVoteResp:
      // These promise what is not yet durable. Rejections among them would not have to wait, but are rare.
      after_append_.push_back(std::move(m));
      break;
    default:
      CHECK(m.to != id_, "message should not be self-addressed when sending {}", static_cast<int>(m.type));
      messages_.push_back(std::move(m));
  }
}

// ---- receiving ----

// A message of a newer term. False: dropped.
bool Raft::pass_higher_term(const Message& m) {
  if (m.type == MessageType::kVote || m.type == MessageType::kPreVote) {
    const bool in_lease = config_.check_quorum && lead_ && election_elapsed_ < config_.election_ticks;
    if (in_lease && m.context.view() != kCampaignTransfer) {
      // Who heard of a leader within the election timeout helps nobody to depose it.
      observer_.vote_ignored_in_lease(vote_context(m, term_), config_.election_ticks - election_elapsed_);
      return false;
    }
  }
  // A pre-vote changes no terms. Its granted answer carries the term that was asked for; if the election
  // comes about, the vote will raise the term.
  if (m.type == MessageType::kPreVote) return true;
  if (m.type == MessageType::kPreVoteResp && !m.reject) return true;
  observer_.higher_term_received(id_, term_, m.type, m.from, m.term);
  const bool from_leader =
      m.type == MessageType::kApp || m.type == MessageType::kHeartbeat || m.type == MessageType::kSnap;
  become_follower(m.term, from_leader ? m.from : kNoMember);
  return true;
}

void Raft::answer_lower_term(const Message& m) {
  const bool from_leader = m.type == MessageType::kApp || m.type == MessageType::kHeartbeat;
  if ((config_.check_quorum || config_.pre_vote) && from_leader) {
    // This member has campaigned while it was cut off, and its votes are ignored now; the leader must learn
    // of the term, or the two will never agree.
    Message reply;
    reply.to = m.from;
    reply.type = MessageType::kAppResp;
    send(std::move(reply));
  } else if (m.type == MessageType::kPreVote) {
    observer_.vote_rejected(vote_context(m, term_));
    Message reply;
    reply.to = m.from;
    reply.term = term_;
    reply.type = MessageType::kPreVoteResp;
    reply.reject = true;
    send(std::move(reply));
  } else if (m.type == MessageType::kStorageAppendResp) {
    // The entries may have been replaced in the same places by a newer leader, so this acknowledgement says
    // nothing about them. A snapshot is committed and stays what it is.
    if (m.index) observer_.stale_append_ack_ignored(id_, term_, m.type, m.term);
    if (m.snapshot) snapshot_stable(*m.snapshot);
  } else {
    observer_.lower_term_ignored(id_, term_, m.type, m.from, m.term);
  }
}

Result<> Raft::step(Message&& m) {
  if (m.term > term_) {
    if (!pass_higher_term(m)) return {};
  } else if (m.term && m.term < term_) {
    answer_lower_term(m);
    return {};
  }
  switch (m.type) {
    case MessageType::kHup:
      hup(config_.pre_vote ? Campaign::kPreElection : Campaign::kElection);
      return {};
    case MessageType::kStorageAppendResp:
      on_storage_append_response(m);
      return {};
    case MessageType::kStorageApplyResp:
      on_storage_apply_response(m);
      return {};
    case MessageType::kVote:
    case MessageType::kPreVote:
      on_vote_request(m);
      return {};
    default:
      break;
  }
  switch (role_) {
    case Role::kLeader:
      return step_leader(std::move(m));
    case Role::kCandidate:
    case Role::kPreCandidate:
      return step_candidate(std::move(m));
    case Role::kFollower:
      return step_follower(std::move(m));
  }
  return {};
}

Result<> Raft::step_leader(Message&& m) {
  switch (m.type) {
    case MessageType::kBeat:
      broadcast_heartbeat(reads_.last_context());
      return {};
    case MessageType::kCheckQuorum:
      on_check_quorum();
      return {};
    case MessageType::kProp:
      return on_proposal(std::move(m.entries));
    case MessageType::kReadIndex:
      on_read_index(std::move(m));
      return {};
    case MessageType::kForgetLeader:
      return {};
    default:
      break;
  }
  tracker::Progress* from = tracker_.progress.find(m.from);
  if (!from) {
    observer_.no_progress_for(id_, m.from);
    return {};
  }
  step_leader_peer(std::move(m), *from);
  return {};
}

void Raft::step_leader_peer(Message&& m, tracker::Progress& from) {
  switch (m.type) {
    case MessageType::kAppResp:
      on_append_response(m, from);
      break;
    case MessageType::kHeartbeatResp:
      on_heartbeat_response(m, from);
      break;
    case MessageType::kSnapStatus:
      on_snapshot_status(m, from);
      break;
    case MessageType::kUnreachable:
      on_unreachable(m, from);
      break;
    case MessageType::kTransferLeader:
      on_transfer_leader(m, from);
      break;
    default:
      break;
  }
}

Result<> Raft::step_candidate(Message&& m) {
  switch (m.type) {
    case MessageType::kProp:
      observer_.no_leader_for_proposal(id_, term_);
      return Code::kProposalDropped;
    // Whoever sends these leads this term: the election is over.
    case MessageType::kApp:
      become_follower(m.term, m.from);
      on_append(std::move(m));
      return {};
    case MessageType::kHeartbeat:
      become_follower(m.term, m.from);
      on_heartbeat(m);
      return {};
    case MessageType::kSnap:
      become_follower(m.term, m.from);
      on_snapshot(std::move(m));
      return {};
    case MessageType::kVoteResp:
    case MessageType::kPreVoteResp:
      on_vote_response(m);
      return {};
    case MessageType::kTimeoutNow:
      observer_.timeout_now_ignored(id_, term_, role_, m.from);
      return {};
    default:
      return {};
  }
}

Result<> Raft::step_follower(Message&& m) {
  switch (m.type) {
    case MessageType::kApp:
    case MessageType::kHeartbeat:
    case MessageType::kSnap:
      election_elapsed_ = 0;
      lead_ = m.from;
      if (m.type == MessageType::kApp)
        on_append(std::move(m));
      else if (m.type == MessageType::kHeartbeat)
        on_heartbeat(m);
      else
        on_snapshot(std::move(m));
      return {};
    case MessageType::kProp:
      if (!lead_) {
        observer_.no_leader_for_proposal(id_, term_);
        return Code::kProposalDropped;
      }
      if (config_.disable_proposal_forwarding) {
        observer_.forwarding_disabled(id_, lead_, term_);
        return Code::kProposalDropped;
      }
      break;
    case MessageType::kTransferLeader:
      if (!lead_) observer_.no_leader_for_transfer(id_, term_);
      break;
    case MessageType::kReadIndex:
      if (!lead_) observer_.no_leader_for_read_index(id_, term_);
      break;
    case MessageType::kForgetLeader:
      on_forget_leader();
      return {};
    case MessageType::kTimeoutNow:
      observer_.timeout_now_received(id_, term_, m.from);
      // The leader asked for it, so there is no need to ask around first.
      hup(Campaign::kTransfer);
      return {};
    case MessageType::kReadIndexResp:
      on_read_index_response(std::move(m));
      return {};
    default:
      return {};
  }
  // Requests for the leader.
  if (!lead_) return {};
  m.to = lead_;
  // One that came over the network has a term already: the one it was forwarded in, which is this one.
  m.term = Term{0};
  send(std::move(m));
  return {};
}

}  // namespace quoin::raft
