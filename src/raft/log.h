// The log as raft sees it: the stable part in Storage and the unstable part in memory, read as one, and the
// cursors that run over it.
//
//   applied <= applying <= committed <= last_index()
//   first_index() - 1 is the point of compaction or snapshot; its term is known
//
// `applying` is the last index handed out for application, `applied` the last one reported as applied.
// Threads: part of the raft state of one node. Storage and observer outlive the log.
// Errors: breaking an invariant (a conflict below the commit index, a commit beyond the log, a read past its
// ends) means lost or corrupted data somewhere in the cluster and stops the process, with etcd's texts
// (spec 17).
// Source: spec raft-and-peers 7, 14, 15.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "raft/observer.h"
#include "raft/storage.h"
#include "raft/types.h"
#include "raft/unstable.h"

namespace quoin::raft {

constexpr uint64_t kUnlimited = UINT64_MAX;

class RaftLog {
 public:
  // Starts at storage's ends with everything up to the compaction point applied. Reads the stored entries
  // once. `applying_bytes_max`: encoded bytes that may be handed out for application and not yet be applied.
  RaftLog(const Storage& storage, Observer& observer, uint64_t applying_bytes_max);

  Index committed() const { return committed_; }
  Index applied() const { return applied_; }
  Index applying() const { return applying_; }
  Index first_index() const;
  Index last_index() const;
  // Term of [first_index() - 1, last_index()]. kLogCompacted below, kLogUnavailable above.
  Result<Term> term(Index index) const;
  // The same, 0 where it is not known.
  Term term_or_zero(Index index) const;
  EntryId last_id() const;
  bool matches(EntryId id) const;
  // True if a log that ends at `other` is at least as up to date as this one (the voting rule).
  bool up_to_date(EntryId other) const;
  LogCursors cursors() const;

  // ---- writing ----
  // Appends to the unstable part, replacing what conflicts; must start above committed(). Returns
  // last_index().
  Index append(std::span<Entry> entries);
  // A follower's append: nothing if `previous` does not match. Otherwise takes what is new of the entries
  // that follow it, commits up to min(commit, last of them), and returns the last index that now matches.
  std::optional<Index> maybe_append(EntryId previous, std::span<Entry> entries, Index commit);
  void restore(std::shared_ptr<const Snapshot> snapshot);
  // Never goes down.
  void commit_to(Index index);
  // Commits `at` if that is above committed() and the entry there has that term.
  bool maybe_commit(EntryId at);
  // The highest index at which the two logs can agree: the largest i <= `index` whose term is at most `term`,
  // or not known (then with term 0).
  EntryId conflict_by_term(Index index, Term term) const;

  // ---- reading ----
  // Entries from `lo` on, up to `bytes_max` encoded bytes but at least one; appended to `out`.
  Result<> entries(Index lo, uint64_t bytes_max, std::vector<Entry>& out) const;
  // The newest snapshot that can be sent to a follower. Errors: see Storage.
  Result<std::shared_ptr<const Snapshot>> snapshot() const;
  // A configuration change is committed and not yet applied.
  bool has_unapplied_conf_change() const;

  // ---- handing out ----
  const Unstable& unstable() const { return unstable_; }
  bool has_next_unstable_entries() const { return unstable_.in_progress() < unstable_.end(); }
  bool has_next_unstable_snapshot() const { return unstable_.next_snapshot() != nullptr; }
  bool has_snapshot() const { return unstable_.snapshot() != nullptr; }
  void accept_unstable() { unstable_.accept_in_progress(); }
  void stable_to(EntryId id) { unstable_.stable_to(id); }
  void stable_snapshot_to(Index index) { unstable_.stable_snapshot_to(index); }

  // Committed entries to apply next; with `allow_unstable` also ones that are not yet durable here.
  bool has_next_committed(bool allow_unstable) const;
  std::vector<Entry> next_committed(bool allow_unstable) const;
  // Entries up to `to` were handed out; they have `bytes` encoded bytes.
  void accept_applying(Index to, uint64_t bytes, bool allow_unstable);
  void applied_to(Index index, uint64_t bytes);

  // Only for starting a node whose storage knows more than the log's ends.
  void set_committed(Index index) { committed_ = index; }

 private:
  Index max_appliable(bool allow_unstable) const;
  Result<> slice(Index lo, Index hi, uint64_t bytes_max, std::vector<Entry>& out) const;
  // First entry that this log does not have; end if it has all.
  size_t find_conflict(std::span<const Entry> entries) const;
  void note_conf_changes(std::span<const Entry> entries);

  const Storage& storage_;
  Observer& observer_;
  Unstable unstable_;
  Index committed_, applying_, applied_;
  uint64_t applying_bytes_max_;
  uint64_t applying_bytes_ = 0;
  // Set while nothing may be handed out: too much is being applied, or the last hand-out was cut by the
  // limit.
  bool applying_paused_ = false;
  // Indexes above applied() of entries that change the configuration, ascending.
  std::vector<Index> conf_changes_;
};

}  // namespace quoin::raft
