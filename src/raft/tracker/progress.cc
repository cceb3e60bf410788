#include "raft/tracker/progress.h"

#include <algorithm>

#include "base/check.h"

namespace quoin::raft::tracker {

void Progress::enter(ProgressState state) {
  state_ = state;
  append_paused_ = false;
  pending_snapshot_ = Index{0};
  inflights_.reset();
}

// What was said about commits beyond next may not have found the log it speaks of, so it has to be said
// again.
void Progress::clamp_sent_commit() {
  sent_commit_ = std::min(sent_commit_, next_ - 1);
}

void Progress::become_probe() {
  // A follower that got its snapshot has everything up to it.
  const Index known = state_ == ProgressState::kSnapshot ? std::max(match_, pending_snapshot_) : match_;
  enter(ProgressState::kProbe);
  next_ = known + 1;
  clamp_sent_commit();
}

void Progress::become_replicate() {
  enter(ProgressState::kReplicate);
  next_ = match_ + 1;
}

void Progress::become_snapshot(Index snapshot) {
  enter(ProgressState::kSnapshot);
  pending_snapshot_ = snapshot;
  next_ = snapshot + 1;
  sent_commit_ = snapshot;
}

void Progress::sent_entries(size_t entries, uint64_t bytes) {
  switch (state_) {
    case ProgressState::kReplicate:
      if (entries > 0) {
        next_ = next_ + entries;
        inflights_.add(next_ - 1, bytes);
      }
      // A full window pauses appends until acknowledgements or a heartbeat response open it.
      append_paused_ = inflights_.full();
      break;
    case ProgressState::kProbe:
      // An empty append may always be followed by another one: it costs little and may carry a new commit
      // index.
      if (entries > 0) append_paused_ = true;
      break;
    case ProgressState::kSnapshot:
      CHECK(false, "append sent to a follower that waits for a snapshot");
  }
}

bool Progress::maybe_update(Index index) {
  if (index <= match_) return false;
  match_ = index;
  next_ = std::max(next_, index + 1);
  append_paused_ = false;
  return true;
}

bool Progress::maybe_decrease(Index rejected, Index hint) {
  if (state_ == ProgressState::kReplicate) {
    if (rejected <= match_) return false;
    next_ = match_ + 1;
    clamp_sent_commit();
    return true;
  }
  // While probing only the answer to the last probe counts.
  if (next_ - 1 != rejected) return false;
  next_ = std::max(std::min(rejected, hint + 1), match_ + 1);
  clamp_sent_commit();
  append_paused_ = false;
  return true;
}

Progress* ProgressMap::find(MemberId id) {
  auto it = std::lower_bound(items_.begin(), items_.end(), id,
                             [](const value_type& a, MemberId b) { return a.first < b; });
  return it != items_.end() && it->first == id ? &it->second : nullptr;
}

void ProgressMap::insert(MemberId id, Progress progress) {
  auto it = std::lower_bound(items_.begin(), items_.end(), id,
                             [](const value_type& a, MemberId b) { return a.first < b; });
  CHECK(it == items_.end() || it->first != id);
  items_.insert(it, {id, std::move(progress)});
}

void ProgressMap::erase(MemberId id) {
  auto it = std::find_if(items_.begin(), items_.end(), [id](const value_type& a) { return a.first == id; });
  if (it != items_.end()) items_.erase(it);
}

}  // namespace quoin::raft::tracker
