// Appends, heartbeats and their answers, on both sides; acknowledgements of the own storage.
// Source: spec raft-and-peers 7, 8, 9, 15.
#include <algorithm>

#include "base/check.h"
#include "raft/raft.h"

namespace quoin::raft {

using tracker::Progress;
using tracker::ProgressState;

// ---- leader: sending ----

// Sends an append, or a snapshot where the entries are gone. False: nothing was sent.
bool Raft::maybe_send_append(MemberId to, Progress& progress, bool send_if_empty) {
  if (progress.paused()) return false;
  const Index previous = progress.next() - 1;
  const Result<Term> previous_term = log_.term(previous);
  if (!previous_term) return maybe_send_snapshot(to, progress);

  Message m;
  // With a full window an append carries no entries, but the commit index, and can wake a follower that has
  // lost everything sent so far.
  if (progress.state() != ProgressState::kReplicate || !progress.inflights().full()) {
    if (!log_.entries(progress.next(), config_.message_bytes_max, m.entries)) {
      return maybe_send_snapshot(to, progress);
    }
  }
  if (m.entries.empty() && !send_if_empty) return false;
  m.to = to;
  m.type = MessageType::kApp;
  m.index = previous;
  m.log_term = *previous_term;
  m.commit = log_.committed();
  progress.sent_entries(m.entries.size(), payload_size(m.entries));
  progress.set_sent_commit(m.commit);
  send(std::move(m));
  return true;
}

bool Raft::maybe_send_snapshot(MemberId to, Progress& progress) {
  if (!progress.recent_active()) {
    observer_.snapshot_not_sent_to_inactive(to);
    return false;
  }
  Result<std::shared_ptr<const Snapshot>> snapshot = log_.snapshot();
  if (!snapshot) {
    CHECK(snapshot.error().code() == Code::kSnapshotTemporarilyUnavailable, "{}", snapshot.error().text());
    observer_.snapshot_unavailable(id_, to);
    return false;
  }
  CHECK(!(*snapshot)->empty(), "need non-empty snapshot");
  const EntryId at{(*snapshot)->metadata.term, (*snapshot)->metadata.index};
  observer_.snapshot_sent(id_, log_.first_index(), log_.committed(), at, to, progress);
  progress.become_snapshot(at.index);
  observer_.replication_paused(id_, to, progress);
  Message m;
  m.to = to;
  m.type = MessageType::kSnap;
  m.snapshot = std::move(*snapshot);
  send(std::move(m));
  return true;
}

void Raft::broadcast_append() {
  for_each_peer([this](MemberId id, Progress& p) { send_append(id, p); });
}

void Raft::broadcast_heartbeat(const Blob& context) {
  for_each_peer([&](MemberId id, Progress& p) {
    // Never beyond what the follower is known to have: its log may end below the commit index.
    Message m;
    m.to = id;
    m.type = MessageType::kHeartbeat;
    m.commit = std::min(p.match(), log_.committed());
    m.context = context;
    p.set_sent_commit(m.commit);
    send(std::move(m));
  });
}

bool Raft::maybe_commit() {
  return log_.maybe_commit({term_, tracker_.committed()});
}

// ---- follower ----

void Raft::on_append(Message&& m) {
  Message reply;
  reply.to = m.from;
  reply.type = MessageType::kAppResp;
  if (m.index < log_.committed()) {
    reply.index = log_.committed();
    send(std::move(reply));
    return;
  }
  if (const auto last = log_.maybe_append({m.log_term, m.index}, m.entries, m.commit)) {
    reply.index = *last;
    send(std::move(reply));
    return;
  }
  observer_.append_rejected(id_, log_.term_or_zero(m.index), {m.log_term, m.index}, m.from);
  // Tells the leader where the two logs may meet, so that it can skip a whole term of ours that it does not
  // have (it does the same on its side).
  const EntryId hint = log_.conflict_by_term(std::min(m.index, log_.last_index()), m.log_term);
  reply.index = m.index;
  reply.reject = true;
  reply.reject_hint = hint.index;
  reply.log_term = hint.term;
  send(std::move(reply));
}

void Raft::on_heartbeat(const Message& m) {
  log_.commit_to(m.commit);
  Message reply;
  reply.to = m.from;
  reply.type = MessageType::kHeartbeatResp;
  reply.context = m.context;
  send(std::move(reply));
}

// ---- leader: answers ----

void Raft::on_append_rejected(const Message& m, Progress& from) {
  observer_.rejection_received(id_, m.reject_hint, m.log_term, m.from, m.index);
  Index probe = m.reject_hint;
  // The follower's entry at the hint is of m.log_term; whatever we have of a later term below it cannot
  // match.
  if (m.log_term) probe = log_.conflict_by_term(m.reject_hint, m.log_term).index;
  if (!from.maybe_decrease(m.index, probe)) return;
  observer_.progress_decreased(id_, m.from, from);
  if (from.state() == ProgressState::kReplicate) from.become_probe();
  send_append(m.from, from);
}

void Raft::on_append_response(const Message& m, Progress& from) {
  from.set_recent_active(true);
  if (m.reject) {
    on_append_rejected(m, from);
    return;
  }
  // An acknowledgement that is no news can still end probing: that it came shows what matches.
  const bool confirms_probe = from.match() == m.index && from.state() == ProgressState::kProbe;
  if (!from.maybe_update(m.index) && !confirms_probe) return;
  switch (from.state()) {
    case ProgressState::kProbe:
      from.become_replicate();
      break;
    case ProgressState::kSnapshot:
      // Whatever brought it there: from where it is now, the log can go on.
      if (from.match() + 1 >= log_.first_index()) {
        observer_.recovered_from_snapshot(id_, m.from, from);
        from.become_probe();
        from.become_replicate();
      }
      break;
    case ProgressState::kReplicate:
      from.free_inflights(m.index);
      break;
  }
  if (maybe_commit()) {
    release_pending_reads();
    broadcast_append();
  } else if (m.from != id_ && from.can_bump_commit(log_.committed())) {
    send_append(m.from, from);
  }
  if (m.from != id_) {
    // The window may have opened for several messages.
    while (maybe_send_append(m.from, from, false)) {
    }
  }
  if (m.from == transferee_ && from.match() == log_.last_index()) {
    observer_.timeout_now_sent_after_ack(id_, m.from);
    send_timeout_now(m.from);
  }
}

void Raft::on_heartbeat_response(const Message& m, Progress& from) {
  from.set_recent_active(true);
  from.resume_appends();
  // It lags, or appends to it got lost; in Replicate with everything sent this is an empty append.
  if (from.match() < log_.last_index() || from.state() == ProgressState::kProbe) send_append(m.from, from);
  if (config_.read_only != ReadOnlyOption::kSafe || m.context.empty()) return;
  const MemberSet* acks = reads_.acknowledge(m.from, m.context.view());
  if (!acks) return;
  const auto acked = [&](MemberId id) {
    return acks->contains(id) ? std::optional<bool>(true) : std::nullopt;
  };
  if (quorum::vote_result(tracker_.config.voters, acked) != quorum::VoteResult::kWon) return;
  for (const ReadOnly::Read& read : reads_.advance(m.context.view()))
    answer_read_index(read.request, read.index);
}

void Raft::on_unreachable(const Message& m, Progress& from) {
  // While replicating optimistically, whatever was under way may be lost.
  if (from.state() == ProgressState::kReplicate) from.become_probe();
  observer_.peer_unreachable(id_, m.from, from);
}

void Raft::on_snapshot_status(const Message& m, Progress& from) {
  if (from.state() != ProgressState::kSnapshot) return;
  if (m.reject) from.snapshot_failed();
  from.become_probe();
  observer_.snapshot_reported(id_, m.from, !m.reject, from);
  // Sent is not restored: the follower answers when it is, and a failure should not be repeated at once.
  from.pause_appends();
}

// ---- own storage ----

void Raft::on_storage_append_response(const Message& m) {
  if (m.index) log_.stable_to({m.log_term, m.index});
  if (m.snapshot) snapshot_stable(*m.snapshot);
}

void Raft::snapshot_stable(const Snapshot& snapshot) {
  log_.stable_snapshot_to(snapshot.metadata.index);
  applied_to(snapshot.metadata.index, 0);
}

void Raft::on_storage_apply_response(const Message& m) {
  if (m.entries.empty()) return;
  entries_applied(m.entries.back().index, encoded_size(m.entries), payload_size(m.entries));
}

void Raft::entries_applied(Index last, uint64_t encoded_bytes, uint64_t payload_bytes) {
  applied_to(last, encoded_bytes);
  uncommitted_bytes_ -= std::min(uncommitted_bytes_, payload_bytes);
}

void Raft::applied_to(Index index, uint64_t bytes) {
  const Index applied = std::max(index, log_.applied());
  log_.applied_to(applied, bytes);
  if (tracker_.config.auto_leave && applied >= pending_conf_index_ && role_ == Role::kLeader)
    propose_auto_leave();
}

}  // namespace quoin::raft
