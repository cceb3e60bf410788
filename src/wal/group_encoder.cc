#include "wal/group_encoder.h"

#include <algorithm>
#include <utility>

namespace quoin::wal {

void GroupEncoder::add(const std::vector<raft::Entry>& entries, const raft::HardState& state,
                       const SnapshotRecord* snapshot) {
  const auto changes_configuration = [](const raft::Entry& e) { return e.type != raft::EntryType::kNormal; };
  if (!entries.empty() && std::exchange(received_, false)) add_state();
  for (const raft::Entry& entry : entries) {
    if (changes_configuration(entry)) {
      // Its own batch may bring the commit of the change before. Not in a log that never had a hard state: torn, it
      // would no longer be taken for one that has only begun (the founders' changes come in one batch).
      const quoin::Index covered = std::min(state.commit, quoin::Index(entry.index.v - 1));
      if (!written_state_.empty() && covered > state_.commit) {
        state_ = state;
        state_.commit = covered;
      }
      add_state();
    }
    encoder_.add_entry(entry);
  }
  if (!entries.empty()) last_ = entries.back().index;
  keep(state);
  if (snapshot == nullptr) return;
  add_state();
  encoder_.add_snapshot(*snapshot);
  received_ = snapshot->index > state_.commit;
  last_ = std::max(last_, snapshot->index);
}

void GroupEncoder::begin_segment(std::string_view metadata) {
  encoder_.add_crc();
  encoder_.add_metadata(metadata);
  if (!written_state_.empty()) encoder_.add_state(written_state_);
}

void GroupEncoder::add_state() {
  if (state_ == written_state_) return;
  encoder_.add_state(state_);
  written_state_ = state_;
}

}  // namespace quoin::wal
