// What a leader knows and assumes about one follower's log.
//
//   match   highest index known to be on the follower
//   next    first index of the next append; match < next always
//
// Probe: next is a guess. One append with entries at a time, then silence until an answer or a heartbeat
// response comes.
//
// Replicate: next is optimistic: it moves on as entries are sent, limited by the inflight window.
//
// Snapshot: the entries below next are compacted here; nothing is sent until the follower has a snapshot.
//
// Threads, ownership: part of the raft state of one node.
// Source: spec raft-and-peers 8.
#pragma once
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "raft/tracker/inflights.h"

namespace quoin::raft::tracker {

enum class ProgressState : uint8_t { kProbe, kReplicate, kSnapshot };

class Progress {
 public:
  Progress(Index match, Index next, Inflights window, bool is_learner, bool recent_active)
      : match_(match),
        next_(next),
        recent_active_(recent_active),
        is_learner_(is_learner),
        inflights_(window) {}

  Index match() const { return match_; }
  Index next() const { return next_; }
  ProgressState state() const { return state_; }
  // In Snapshot: the index of the snapshot that is under way. 0 otherwise.
  Index pending_snapshot() const { return pending_snapshot_; }
  bool is_learner() const { return is_learner_; }
  // Heard of within this election timeout.
  bool recent_active() const { return recent_active_; }
  const Inflights& inflights() const { return inflights_; }
  // No append may be sent now.
  bool paused() const { return state_ == ProgressState::kSnapshot || append_paused_; }
  // The follower may not know yet that `committed` is committed, and has log enough to use the news.
  bool can_bump_commit(Index committed) const { return committed > sent_commit_ && sent_commit_ < next_ - 1; }

  void set_learner(bool learner) { is_learner_ = learner; }
  void set_recent_active(bool active) { recent_active_ = active; }
  void set_sent_commit(Index commit) { sent_commit_ = commit; }

  void become_probe();
  void become_replicate();
  void become_snapshot(Index snapshot);
  // The pending snapshot did not arrive; a following become_probe goes back to match.
  void snapshot_failed() { pending_snapshot_ = Index{0}; }
  // Nothing is sent until an answer or a heartbeat response.
  void pause_appends() { append_paused_ = true; }
  void resume_appends() { append_paused_ = false; }

  // An append of `entries` entries with `bytes` of payload, starting at next, left.
  void sent_entries(size_t entries, uint64_t bytes);
  // The follower acknowledged everything up to `index`; false if that is no news.
  bool maybe_update(Index index);
  void free_inflights(Index to) { inflights_.free_to(to); }
  // The follower refused an append whose previous index was `rejected` and may match up to `hint`; false if
  // the refusal is stale.
  bool maybe_decrease(Index rejected, Index hint);

 private:
  void enter(ProgressState state);
  void clamp_sent_commit();

  Index match_, next_;
  Index sent_commit_;  // highest commit index sent in an append or heartbeat
  ProgressState state_ = ProgressState::kProbe;
  Index pending_snapshot_;
  bool recent_active_;
  bool append_paused_ = false;
  bool is_learner_;
  Inflights inflights_;
};

// Progress by member id, ascending.
class ProgressMap {
 public:
  using value_type = std::pair<MemberId, Progress>;
  // Null if there is none. Valid until the next insert or erase.
  Progress* find(MemberId id);
  const Progress* find(MemberId id) const { return const_cast<ProgressMap*>(this)->find(id); }
  // `id` must not be there yet.
  void insert(MemberId id, Progress progress);
  void erase(MemberId id);
  size_t size() const { return items_.size(); }
  auto begin() { return items_.begin(); }
  auto end() { return items_.end(); }
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }

 private:
  std::vector<value_type> items_;
};

}  // namespace quoin::raft::tracker
