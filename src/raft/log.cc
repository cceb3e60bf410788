#include "raft/log.h"

#include <algorithm>

#include "base/check.h"

namespace quoin::raft {
namespace {

void add(std::span<const Entry> from, std::vector<Entry>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

RaftLog::RaftLog(const Storage& storage, Observer& observer, uint64_t applying_bytes_max)
    : storage_(storage),
      observer_(observer),
      unstable_(storage.last_index() + 1, observer),
      applying_bytes_max_(applying_bytes_max) {
  const Index first = storage.first_index();
  const Index end = storage.last_index() + 1;
  committed_ = applying_ = applied_ = first - 1;
  constexpr uint64_t kScanBytes = 1 << 20;
  std::vector<Entry> page;
  for (Index i = first; i < end; i = page.back().index + 1) {
    page.clear();
    const Result<> r = storage.entries(i, end, kScanBytes, page);
    CHECK(r.has_value() && !page.empty(), "stored log unreadable at index {}", i);
    note_conf_changes(page);
  }
}

Index RaftLog::first_index() const {
  if (const auto i = unstable_.first_index()) return *i;
  return storage_.first_index();
}

Index RaftLog::last_index() const {
  if (const auto i = unstable_.last_index()) return *i;
  return storage_.last_index();
}

Result<Term> RaftLog::term(Index index) const {
  if (const auto t = unstable_.term(index)) return *t;
  if (index + 1 < first_index()) return Code::kLogCompacted;
  if (index > last_index()) return Code::kLogUnavailable;
  Result<Term> t = storage_.term(index);
  CHECK(t.has_value() || t.error().code() == Code::kLogCompacted || t.error().code() == Code::kLogUnavailable,
        "{}", t.error().text());
  return t;
}

Term RaftLog::term_or_zero(Index index) const {
  const Result<Term> t = term(index);
  return t ? *t : Term{0};
}

EntryId RaftLog::last_id() const {
  const Index last = last_index();
  const Result<Term> t = term(last);
  CHECK(t.has_value(), "no term for the last entry {}", last);
  return {*t, last};
}

bool RaftLog::matches(EntryId id) const {
  const Result<Term> t = term(id.index);
  return t && *t == id.term;
}

bool RaftLog::up_to_date(EntryId other) const {
  const EntryId last = last_id();
  return other.term > last.term || (other.term == last.term && other.index >= last.index);
}

LogCursors RaftLog::cursors() const {
  return {committed_, applied_, applying_, unstable_.offset(), unstable_.in_progress(), unstable_.size()};
}

// ---- writing ----

void RaftLog::note_conf_changes(std::span<const Entry> entries) {
  for (const Entry& e : entries) {
    if (e.type != EntryType::kNormal) conf_changes_.push_back(e.index);
  }
}

Index RaftLog::append(std::span<Entry> entries) {
  if (entries.empty()) return last_index();
  const Index first = entries.front().index;
  CHECK(first > committed_, "after({}) is out of range [committed({})]", first - 1, committed_);
  while (!conf_changes_.empty() && conf_changes_.back() >= first) conf_changes_.pop_back();
  note_conf_changes(entries);
  unstable_.truncate_and_append(entries);
  return last_index();
}

size_t RaftLog::find_conflict(std::span<const Entry> entries) const {
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry& e = entries[i];
    if (matches(id_of(e))) continue;
    if (e.index <= last_index()) observer_.conflict_found(e.index, term_or_zero(e.index), e.term);
    return i;
  }
  return entries.size();
}

std::optional<Index> RaftLog::maybe_append(EntryId previous, std::span<Entry> entries, Index commit) {
  if (!matches(previous)) return std::nullopt;
  const size_t from = find_conflict(entries);
  if (from < entries.size()) {
    const Index at = entries[from].index;
    CHECK(at > committed_, "entry {} conflict with committed entry [committed({})]", at, committed_);
    append(entries.subspan(from));
  }
  const Index last = previous.index + entries.size();
  commit_to(std::min(commit, last));
  return last;
}

void RaftLog::restore(std::shared_ptr<const Snapshot> snapshot) {
  const EntryId at{snapshot->metadata.term, snapshot->metadata.index};
  observer_.log_restore_started(cursors(), at);
  committed_ = at.index;
  conf_changes_.clear();
  unstable_.restore(std::move(snapshot));
}

void RaftLog::commit_to(Index index) {
  if (index <= committed_) return;
  CHECK(index <= last_index(),
        "tocommit({}) is out of range [lastIndex({})]. Was the raft log corrupted, truncated, or lost?",
        index, last_index());
  committed_ = index;
}

bool RaftLog::maybe_commit(EntryId at) {
  // Entries of earlier terms are committed only along with one of the leader's own (raft paper, 5.4.2).
  if (!at.term || at.index <= committed_ || !matches(at)) return false;
  commit_to(at.index);
  return true;
}

EntryId RaftLog::conflict_by_term(Index index, Term term) const {
  for (; index; index = index - 1) {
    const Result<Term> own = this->term(index);
    if (!own) return {Term{0}, index};
    if (*own <= term) return {*own, index};
  }
  return {};
}

// ---- reading ----

Result<> RaftLog::slice(Index lo, Index hi, uint64_t bytes_max, std::vector<Entry>& out) const {
  CHECK_LE(lo, hi);
  if (lo < first_index()) return Code::kLogCompacted;
  CHECK(hi <= last_index() + 1, "slice[{},{}) out of bound [{},{}]", lo, hi, first_index(), last_index());
  if (lo == hi) return {};
  const Index offset = unstable_.offset();
  if (lo >= offset) {
    add(limit_size(unstable_.range(lo, hi), bytes_max), out);
    return {};
  }
  const Index cut = std::min(hi, offset);
  const size_t before = out.size();
  if (Result<> r = storage_.entries(lo, cut, bytes_max, out); !r) {
    CHECK(r.error().code() == Code::kLogCompacted, "entries[{}:{}) are unavailable from storage: {}", lo, cut,
          r.error().text());
    return r;
  }
  if (hi <= offset || out.size() - before < cut - lo) return {};
  uint64_t size = 0;
  for (size_t i = before; i < out.size(); ++i) size += encoded_size(out[i]);
  if (size >= bytes_max) return {};
  // The limit holds for both parts together, so the rule "at least one" must not let in an oversized entry
  // here.
  const uint64_t room = bytes_max - size;
  uint64_t more = 0;
  const auto tail = limit_size(unstable_.range(offset, hi), room, &more);
  if (more <= room) add(tail, out);
  return {};
}

Result<> RaftLog::entries(Index lo, uint64_t bytes_max, std::vector<Entry>& out) const {
  const Index last = last_index();
  if (lo > last) return {};
  return slice(lo, last + 1, bytes_max, out);
}

Result<std::shared_ptr<const Snapshot>> RaftLog::snapshot() const {
  if (unstable_.snapshot()) return unstable_.snapshot();
  return storage_.snapshot();
}

bool RaftLog::has_unapplied_conf_change() const {
  return !conf_changes_.empty() && conf_changes_.front() <= committed_;
}

// ---- handing out ----

Index RaftLog::max_appliable(bool allow_unstable) const {
  return allow_unstable ? committed_ : std::min(committed_, unstable_.offset() - 1);
}

bool RaftLog::has_next_committed(bool allow_unstable) const {
  // While a snapshot waits to be installed, entries above it cannot be applied.
  if (applying_paused_ || has_snapshot()) return false;
  return applying_ < max_appliable(allow_unstable);
}

std::vector<Entry> RaftLog::next_committed(bool allow_unstable) const {
  std::vector<Entry> out;
  if (!has_next_committed(allow_unstable)) return out;
  CHECK_LT(applying_bytes_, applying_bytes_max_);
  const Result<> r =
      slice(applying_ + 1, max_appliable(allow_unstable) + 1, applying_bytes_max_ - applying_bytes_, out);
  CHECK(r.has_value(), "committed entries are gone: {}", r.error().text());
  return out;
}

void RaftLog::accept_applying(Index to, uint64_t bytes, bool allow_unstable) {
  CHECK(to <= committed_, "applying({}) is out of range [prevApplying({}), committed({})]", to, applying_,
        committed_);
  applying_ = to;
  applying_bytes_ += bytes;
  // Where a hand-out ended early, the next entry did not fit: it has to wait until something is applied, or
  // else entries would go out one by one beyond the limit.
  applying_paused_ = applying_bytes_ >= applying_bytes_max_ || to < max_appliable(allow_unstable);
}

void RaftLog::applied_to(Index index, uint64_t bytes) {
  CHECK(applied_ <= index && index <= committed_,
        "applied({}) is out of range [prevApplied({}), committed({})]", index, applied_, committed_);
  applied_ = index;
  applying_ = std::max(applying_, index);
  applying_bytes_ -= std::min(applying_bytes_, bytes);
  applying_paused_ = applying_bytes_ >= applying_bytes_max_;
  const auto done = std::upper_bound(conf_changes_.begin(), conf_changes_.end(), index);
  conf_changes_.erase(conf_changes_.begin(), done);
}

}  // namespace quoin::raft
