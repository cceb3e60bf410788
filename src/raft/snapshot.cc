// Snapshots at the receiving end, and switching to another configuration. Source: spec raft-and-peers 11, 13.
#include <algorithm>

#include "base/check.h"
#include "raft/raft.h"

namespace quoin::raft {

void Raft::on_snapshot(Message&& m) {
  const std::shared_ptr<const Snapshot> snapshot =
      m.snapshot ? m.snapshot : std::make_shared<const Snapshot>();
  const EntryId at{snapshot->metadata.term, snapshot->metadata.index};
  Message reply;
  reply.to = m.from;
  reply.type = MessageType::kAppResp;
  if (restore(snapshot)) {
    observer_.snapshot_accepted(id_, log_.committed(), at);
    reply.index = log_.last_index();
  } else {
    observer_.snapshot_ignored(id_, log_.committed(), at);
    reply.index = log_.committed();
  }
  send(std::move(reply));
}

// Takes over log position and configuration. False: not needed, or not for this member.
bool Raft::restore(const std::shared_ptr<const Snapshot>& snapshot) {
  const SnapshotMetadata& meta = snapshot->metadata;
  const EntryId at{meta.term, meta.index};
  if (at.index <= log_.committed()) return false;
  if (role_ != Role::kFollower) {
    // Two leaders in one term cannot be; the higher term at least makes sure that this one stops.
    observer_.snapshot_received_as_leader(id_);
    become_follower(term_ + 1, kNoMember);
    return false;
  }
  const auto lists_self = [this](const std::vector<MemberId>& ids) {
    return std::find(ids.begin(), ids.end(), id_) != ids.end();
  };
  const ConfState& cs = meta.conf_state;
  // learners_next need not be looked at: its members are in voters_outgoing.
  if (!lists_self(cs.voters) && !lists_self(cs.learners) && !lists_self(cs.voters_outgoing)) {
    observer_.not_in_snapshot_config(id_, cs);
    return false;
  }
  if (log_.matches(at)) {
    // The log already has all of it; only the commit index was behind.
    observer_.commit_fast_forwarded(id_, log_.committed(), log_.last_id(), at);
    log_.commit_to(at.index);
    return false;
  }
  log_.restore(snapshot);
  tracker_ = tracker::Tracker(config_.inflight_messages_max, config_.inflight_bytes_max);
  auto changed = confchange::restore(tracker_, log_.last_index(), cs);
  CHECK(changed.has_value(), "unable to restore config: {}", changed.error().text());
  restored_index_ = at.index;
  switch_to(std::move(*changed));
  observer_.snapshot_restored(id_, log_.committed(), log_.last_id(), at);
  return true;
}

ConfState Raft::apply_conf_change(const ConfChangeV2& change, Index at) {
  // Where application runs behind, an entry can come to be applied after a snapshot above it was accepted.
  // That snapshot's configuration is in use already, and has the change.
  if (at && at <= restored_index_) return tracker_.config.conf_state();
  auto changed = confchange::apply(tracker_, log_.last_index(), change);
  CHECK(changed.has_value(), "{}", changed.error().text());
  switch_to(std::move(*changed));
  return tracker_.config.conf_state();
}

void Raft::switch_to(confchange::Changed changed) {
  tracker_.config = std::move(changed.config);
  tracker_.progress = std::move(changed.progress);
  observer_.configuration_switched(id_, tracker_.config);
  const tracker::Progress* self = tracker_.progress.find(id_);
  if ((!self || self->is_learner()) && role_ == Role::kLeader) {
    // A removed or demoted leader may go on leading until somebody else does: it counts itself in no
    // majority.
    if (config_.step_down_on_removal) become_follower(term_, kNoMember);
    return;
  }
  if (role_ != Role::kLeader || tracker_.config.voters.incoming.empty()) return;
  if (maybe_commit()) {
    // The new configuration can commit with fewer acknowledgements than the old one.
    broadcast_append();
  } else {
    // Newcomers are sent something at once instead of at the next heartbeat.
    for_each_peer([this](MemberId id, tracker::Progress& p) { maybe_send_append(id, p, false); });
  }
  if (transferee_ && !tracker_.config.voters.contains(transferee_)) abort_transfer();
}

}  // namespace quoin::raft
