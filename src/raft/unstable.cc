#include "raft/unstable.h"

#include <algorithm>

#include "base/check.h"

namespace quoin::raft {

std::optional<Index> Unstable::first_index() const {
  if (!snapshot_) return std::nullopt;
  return snapshot_->metadata.index + 1;
}

std::optional<Index> Unstable::last_index() const {
  if (!entries_.empty()) return end() - 1;
  if (snapshot_) return snapshot_->metadata.index;
  return std::nullopt;
}

std::optional<Term> Unstable::term(Index index) const {
  if (index < offset_) {
    if (snapshot_ && snapshot_->metadata.index == index) return snapshot_->metadata.term;
    return std::nullopt;
  }
  if (index >= end()) return std::nullopt;
  return entries_[index - offset_].term;
}

void Unstable::accept_in_progress() {
  in_progress_ = end();
  if (snapshot_) snapshot_in_progress_ = true;
}

void Unstable::stable_to(EntryId id) {
  const std::optional<Term> held = term(id.index);
  if (!held) {
    // Long stable, or cut off by a newer leader in the meantime.
    observer_->stable_ack_missing(id.index);
    return;
  }
  if (id.index < offset_) {
    observer_->stable_ack_for_snapshot(id.index);
    return;
  }
  if (*held != id.term) {
    // The write that is confirmed has been overtaken by another one, which is confirmed later.
    observer_->stable_ack_mismatched(id, {*held, id.index});
    return;
  }
  const Index next = id.index + 1;
  entries_.drop_front(next - offset_);
  offset_ = next;
  in_progress_ = std::max(in_progress_, offset_);
}

void Unstable::stable_snapshot_to(Index index) {
  if (!snapshot_ || snapshot_->metadata.index != index) return;
  snapshot_ = nullptr;
  snapshot_in_progress_ = false;
}

void Unstable::restore(std::shared_ptr<const Snapshot> snapshot) {
  offset_ = in_progress_ = snapshot->metadata.index + 1;
  entries_.clear();
  snapshot_ = std::move(snapshot);
  snapshot_in_progress_ = false;
}

void Unstable::truncate_and_append(std::span<Entry> entries) {
  const Index first = entries.front().index;
  CHECK_LE(first, end());
  if (first <= offset_ && first != end()) {
    observer_->unstable_replaced(first);
    entries_.clear();
    offset_ = in_progress_ = first;
  } else if (first < end()) {
    observer_->unstable_truncated(first);
    entries_.truncate(first - offset_);
    // What storage was given above the cut is void: it has to be given the replacement.
    in_progress_ = std::min(in_progress_, first);
  }
  entries_.append(entries);
}

}  // namespace quoin::raft
