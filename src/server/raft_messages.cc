// The raft stage and the other members: messages, snapshots, the hand-over of leadership.
#include <algorithm>

#include "base/check.h"
#include "server/raft_probe.h"
#include "server/raft_stage.h"

namespace quoin::server {

// ---- in ----

void RaftStage::post_messages(std::vector<raft::Message> messages, Charge charge) {
  strand_.post([this, messages = std::move(messages), charge = std::move(charge)]() mutable {
    for (raft::Message& m : messages) {
      if (const Result<> stepped = step(std::move(m)); !stepped) tell_refused(stepped.error());
    }
    schedule_ready();
  });
}

void RaftStage::post_message(raft::Message message, Charge charge, io::Executor& executor,
                             absl::AnyInvocable<void(Result<>)> done) {
  strand_.post([this, message = std::move(message), charge = std::move(charge), &executor,
                done = std::move(done)]() mutable {
    Result<> stepped = step(std::move(message));
    executor.post([done = std::move(done), stepped = std::move(stepped)]() mutable { done(stepped); });
    schedule_ready();
  });
}

Result<> RaftStage::step(raft::Message message) {
  if (stopped_) return Error(Code::kServerStopped);
  if (message.type == raft::MessageType::kProp) {
    // As if it had been proposed here: should this member forward it, the answer comes by the log.
    message.from = self_;
    if (!node_->raft().lead()) {
      park_forwarded(std::move(message));
      return {};
    }
  }
  Result<> stepped = node_->step(std::move(message));
  // A member that is unknown here, or not any more, is no fault.
  if (!stepped && stepped.error().code() == Code::kNotFound) return {};
  return stepped;
}

// Only what is wrong with the message: what raft drops it tells itself.
void RaftStage::tell_refused(const Error& error) {
  if (error.code() != Code::kMalformed && error.code() != Code::kInvalidArgument) return;
  probe_->refused.inc();
  const auto kept_back = refusals_.line(clock_.monotonic());
  if (!kept_back) return;
  LOG(log_, kWarn, "failed to process Raft message", {"error", error.text()},
      {"lines-kept-back", *kept_back});
}

// A proposal that another member forwarded waits for a leader, as one of this member's own.
void RaftStage::park_forwarded(raft::Message message) {
  std::vector<Proposal> proposals;
  proposals.reserve(message.entries.size());
  for (raft::Entry& e : message.entries) {
    proposals.push_back({.data = std::move(e.data), .only_in_term = {}, .type = e.type});
  }
  park(std::move(proposals));
}

void RaftStage::post_unreachable(MemberId id) {
  strand_.post([this, id] {
    if (stopped_) return;
    node_->report_unreachable(id);
    schedule_ready();
  });
}

void RaftStage::post_snapshot_sent(MemberId id, bool failed) {
  strand_.post([this, id, failed] {
    if (stopped_) return;
    node_->report_snapshot(id, failed);
    schedule_ready();
  });
}

void RaftStage::post_snapshot_installed(Index index) {
  strand_.post([this, index] {
    if (installing_ != index) return;  // a newer one is under way, and is installed next
    installing_ = Index();
    release(std::exchange(held_responses_, {}));
    schedule_ready();
  });
}

void RaftStage::post_first_commit_in_term() {
  strand_.post([this] {
    if (stopped_ || !round_) return;
    send_read_index();
    schedule_ready();
  });
}

// ---- out ----

// What had to wait for the log.
void RaftStage::release(std::vector<raft::Message> responses) {
  std::vector<raft::Message> to_others;
  for (raft::Message& m : responses) {
    if (m.to != self_) {
      to_others.push_back(std::move(m));
      continue;
    }
    // Refused if this member was removed meanwhile: nobody counts on it any more.
    (void)node_->step(std::move(m)).has_value();
  }
  if (!to_others.empty()) send(std::move(to_others));
}

void RaftStage::send(std::vector<raft::Message> messages) {
  // Of several acknowledgements the last says all that the others say.
  bool acknowledged = false;
  for (auto m = messages.rbegin(); m != messages.rend(); ++m) {
    if (m->type != raft::MessageType::kAppResp) continue;
    if (std::exchange(acknowledged, true)) m->to = MemberId();
  }
  watch_heartbeats(messages);
  for (raft::Message& m : messages) {
    if (m.type != raft::MessageType::kSnap || !m.to) continue;
    const MemberId to = std::exchange(m.to, MemberId());
    raft::Message wanted = std::move(m);
    wanted.to = to;
    sink_.snapshot_wanted(std::move(wanted));
    m = {};
  }
  std::erase_if(messages, [](const raft::Message& m) { return !m.to; });
  if (!messages.empty()) sink_.send(std::move(messages));
}

void RaftStage::watch_heartbeats(const std::vector<raft::Message>& messages) {
  const int64_t late = 2 * options_.tick_ns;
  for (const raft::Message& m : messages) {
    if (m.type != raft::MessageType::kHeartbeat) continue;
    const io::MonotonicNs now = clock_.monotonic();
    io::MonotonicNs& last = heartbeats_[m.to];
    if (last != 0 && now - last > late) {
      LOG(log_, kWarn,
          "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow "
          "disk",
          {"to", log::Hex{m.to.v}}, {"heartbeat-interval", log::Duration{options_.tick_ns}},
          {"expected-duration", log::Duration{late}},
          {"exceeded-duration", log::Duration{now - last - late}});
      probe_->heartbeat_failures.inc();
    }
    last = now;
  }
}

// ---- leadership ----

void RaftStage::soft_state_changed(const raft::SoftState& s) {
  probe_->has_leader.set(s.lead ? 1 : 0);
  probe_->is_leader.set(s.role == raft::Role::kLeader ? 1 : 0);
  const bool new_leader = s.lead && s.lead != lead_;
  if (new_leader) probe_->leader_changes.inc();
  lead_ = s.lead;
  if (new_leader && s.role == raft::Role::kLeader) became_leader_ = clock_.monotonic();
  heartbeats_.clear();
  publish();
  sink_.soft_state_changed(s, node_->raft().term());
  if (new_leader && round_) fail_read_round(Error(Code::kLeaderChanged));
  if (transfer_ && lead_ == transfer_->target) end_transfer({});
}

void RaftStage::post_transfer(MemberId target, io::Executor& executor,
                              absl::AnyInvocable<void(Result<>)> done) {
  strand_.post([this, target, &executor, done = std::move(done)]() mutable {
    end_transfer(Error(Code::kTimeoutLeaderTransfer));
    transfer_.emplace(
        Transfer{target, clock_.monotonic() + options_.request_timeout_ns, &executor, std::move(done)});
    if (stopped_) return end_transfer(Error(Code::kServerStopped));
    if (node_->raft().role() != raft::Role::kLeader) return end_transfer(Error(Code::kNotLeader));
    if (target == self_) return end_transfer({});
    const auto* follower = node_->raft().tracker().progress.find(target);
    if (follower == nullptr || follower->is_learner()) return end_transfer(Error(Code::kBadLeaderTransferee));
    node_->transfer_leadership(target);
    schedule_ready();
  });
}

void RaftStage::check_transfer(io::MonotonicNs now) {
  if (transfer_ && now >= transfer_->deadline) end_transfer(Error(Code::kTimeoutLeaderTransfer));
}

void RaftStage::end_transfer(const Result<>& result) {
  if (!transfer_) return;
  Transfer ended = std::move(*transfer_);
  transfer_.reset();
  ended.executor->post([done = std::move(ended.done), result]() mutable { done(result); });
}

// The followers of a leader whose disk is stuck go on, since two of three disks are enough to commit. Its own clients
// wait, and so does everything that it must write itself. It hands over to a voter that was heard of within the last
// election timeout and follows most closely. At most one attempt an election timeout, so that leadership does not
// circle where all disks are slow (design.md section 5).
void RaftStage::hand_over_if_stuck(io::MonotonicNs now) {
  const int64_t election_ns = options_.raft.election_ticks * options_.tick_ns;
  if (node_->raft().role() != raft::Role::kLeader || backlog_.oldest_wait_ns() <= election_ns) return;
  if (now - handed_over_ < election_ns || node_->raft().transferee()) return;
  MemberId best;
  Index best_match;
  const raft::tracker::Tracker& tracker = node_->raft().tracker();
  for (const MemberId id : tracker.config.voters.incoming) {
    const auto* p = id == self_ ? nullptr : tracker.progress.find(id);
    if (p == nullptr || !p->recent_active() || p->match() <= best_match) continue;
    best = id;
    best_match = p->match();
  }
  if (!best) return;
  handed_over_ = now;
  LOG(log_, kWarn, "the disk of the log is stuck; handing leadership over",
      {"local-member-id", log::Hex{self_.v}}, {"to", log::Hex{best.v}},
      {"oldest-write-age", log::Duration{backlog_.oldest_wait_ns()}});
  node_->transfer_leadership(best);
}

void RaftStage::post_followers(io::Executor& executor, absl::AnyInvocable<void(std::vector<Follower>)> done) {
  strand_.post([this, &executor, done = std::move(done)]() mutable {
    std::vector<Follower> followers;
    if (node_->raft().role() == raft::Role::kLeader) {
      for (const auto& [id, p] : node_->raft().tracker().progress) {
        followers.push_back({id, p.match(), p.is_learner()});
      }
    }
    executor.post(
        [done = std::move(done), followers = std::move(followers)]() mutable { done(std::move(followers)); });
  });
}

}  // namespace quoin::server
