// Proposals: the leader's own appends, the quota on what is uncommitted, the checks of configuration changes.
// Source: spec raft-and-peers 10, 11.1.
#include "raft/codec.h"
#include "raft/raft.h"

namespace quoin::raft {

Result<> Raft::propose(std::vector<Entry>&& entries, Term guard) {
  if (guard && (role_ != Role::kLeader || term_ != guard)) return Code::kProposalDropped;
  if (role_ == Role::kLeader) return on_proposal(std::move(entries));
  Message m;
  m.type = MessageType::kProp;
  m.from = id_;
  m.entries = std::move(entries);
  return step(std::move(m));
}

Result<> Raft::on_proposal(std::vector<Entry>&& entries) {
  // From another member, whom nothing obliges to send any.
  if (entries.empty()) return make_error(Code::kMalformed, "raft: proposal without entries");
  // A leader that was removed takes no more proposals; it goes on only to spread its removal.
  if (!tracker_.progress.find(id_)) return Code::kProposalDropped;
  if (transferee_) {
    observer_.proposal_dropped_in_transfer(id_, term_, transferee_);
    return Code::kProposalDropped;
  }
  TRY(check_conf_changes(entries));
  if (!append_own(std::move(entries))) return Code::kProposalDropped;
  broadcast_append();
  return {};
}

Result<> Raft::check_conf_changes(std::vector<Entry>& entries) {
  const Index last = log_.last_index();
  // First whether all parse, so that a batch is refused before any of it has had an effect.
  std::vector<std::pair<size_t, ConfChangeV2>> changes;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].type == EntryType::kNormal) continue;
    ASSIGN_OR_RETURN(ConfChangeV2 change, conf_change_of(entries[i]));
    changes.emplace_back(i, std::move(change));
  }
  for (const auto& [i, change] : changes) {
    const Result<> allowed = check_conf_change(change);
    if (!allowed && !config_.disable_conf_change_validation) {
      observer_.conf_change_ignored(id_, entries[i], tracker_.config, allowed.error());
      // The entry stays, empty: the rest of the batch keeps its places, and its author learns by a timeout.
      entries[i] = Entry{};
    } else {
      pending_conf_index_ = last + i + 1;
    }
  }
  return {};
}

// One change at a time: the next one only after the previous one has been applied here. This is stricter than
// what safety needs, and saves a look through the log.
Result<> Raft::check_conf_change(const ConfChangeV2& change) const {
  const bool joint = tracker_.config.joint();
  const bool wants_to_leave = change.changes.empty();
  if (pending_conf_index_ > log_.applied()) {
    return make_error(Code::kInvalidArgument, "possible unapplied conf change at index {} (applied to {})",
                      pending_conf_index_, log_.applied());
  }
  if (joint && !wants_to_leave) {
    return make_error(Code::kInvalidArgument, "must transition out of joint config first");
  }
  if (!joint && wants_to_leave) {
    return make_error(Code::kInvalidArgument, "not in joint state; refusing empty conf change");
  }
  return {};
}

// Gives entries their places and takes them into the log. False: over the quota, nothing was taken.
bool Raft::append_own(std::vector<Entry>&& entries) {
  if (!raise_uncommitted(payload_size(entries))) {
    observer_.uncommitted_limit_reached(id_);
    return false;
  }
  Index index = log_.last_index();
  for (Entry& e : entries) {
    e.term = term_;
    e.index = ++index;
  }
  log_.append(entries);
  // The leader acknowledges its own entries like a follower: once they are durable. Until then others may
  // commit them without it.
  Message m;
  m.to = id_;
  m.type = MessageType::kAppResp;
  m.index = index;
  send(std::move(m));
  return true;
}

bool Raft::raise_uncommitted(uint64_t payload) {
  // A first proposal passes whatever its size, and empty ones always do: they are what a new leader and an
  // automatic leave depend on.
  const uint64_t limit = config_.uncommitted_bytes_max;
  if (limit != 0 && uncommitted_bytes_ > 0 && payload > 0 && uncommitted_bytes_ + payload > limit)
    return false;
  uncommitted_bytes_ += payload;
  return true;
}

// Leaves a joint configuration by an empty change, which needs a quorum of both halves like any entry.
void Raft::propose_auto_leave() {
  std::vector<Entry> entries(1);
  entries[0].type = EntryType::kConfChangeV2;
  if (const Result<> r = on_proposal(std::move(entries)); !r) {
    observer_.auto_leave_refused(tracker_.config, r.error());
  } else {
    observer_.auto_leave_started(tracker_.config);
  }
}

}  // namespace quoin::raft
