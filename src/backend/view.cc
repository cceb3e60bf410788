#include "backend/view.h"

#include <array>
#include <utility>

namespace quoin::backend {

SnapshotRef SnapshotOpener::open(Engine& engine) {
  const EngineSnapshot* snapshot = engine.snapshot().release();
  count_->fetch_add(1, std::memory_order_relaxed);
  probe_->open_reads.add(1);
  return SnapshotRef(snapshot, [probe = probe_, count = count_](const EngineSnapshot* s) {
    delete s;
    count->fetch_sub(1, std::memory_order_release);
    probe->open_reads.add(-1);
  });
}

namespace {
const Record* find_put(const Segment& segment, uint64_t count, Revision revision) {
  const uint64_t i = segment.lower_bound(revision, count);
  if (i == count) return nullptr;
  const Record& r = segment.record(i);
  return r.revision == revision && !r.tombstone ? &r : nullptr;
}

bool begins_at_or_before(const Segment* segment, uint64_t count, Revision revision) {
  return segment != nullptr && count > 0 && segment->record(0).revision <= revision;
}

// False: the visitor stopped.
bool visit_segment(const Segment& segment, uint64_t count, Revision from, Revision to,
                   const RecordVisitor& visit) {
  for (uint64_t i = segment.lower_bound(from, count); i < count; ++i) {
    const Record& r = segment.record(i);
    if (r.revision >= to) break;
    if (!visit(r.revision, r.tombstone, r.value.view())) return false;
  }
  return true;
}
}  // namespace

std::optional<Result<std::string_view>> SegmentedView::recent(Revision revision) const {
  const Record* r = nullptr;
  if (begins_at_or_before(active_.get(), active_count_, revision)) {
    r = find_put(*active_, active_count_, revision);
  } else if (frozen_ && begins_at_or_before(frozen_.get(), frozen_->record_count(), revision)) {
    r = find_put(*frozen_, frozen_->record_count(), revision);
  } else {
    return std::nullopt;
  }
  if (r == nullptr) return Code::kNotFound;
  return r->value.view();
}

Result<std::string_view> SegmentedView::record(Revision revision, Hint* hint) const {
  if (auto found = recent(revision)) return *found;
  ASSIGN_OR_RETURN(const auto found, snapshot_->get(Bucket::kKey, RevisionKey(revision).view(), hint));
  if (!found) return Code::kNotFound;
  return *found;
}

Result<> SegmentedView::records(std::span<const Revision> revisions, std::string_view* out) const {
  CHECK_LE(revisions.size(), kGroupMax);
  std::array<RevisionKey, kGroupMax> names;
  std::array<std::string_view, kGroupMax> keys;
  std::array<std::optional<std::string_view>, kGroupMax> found;
  std::array<uint8_t, kGroupMax> places;
  size_t asked = 0;
  for (size_t i = 0; i < revisions.size(); ++i) {
    if (const auto r = recent(revisions[i])) {
      ASSIGN_OR_RETURN(out[i], *r);
      continue;
    }
    names[asked] = RevisionKey(revisions[i]);
    keys[asked] = names[asked].view();
    places[asked++] = static_cast<uint8_t>(i);
  }
  TRY(snapshot_->get_group(Bucket::kKey, std::span(keys).first(asked), found.data()));
  for (size_t k = 0; k < asked; ++k) {
    if (!found[k]) return Code::kNotFound;
    out[places[k]] = *found[k];
  }
  return {};
}

Result<> SegmentedView::scan_records(Revision from, Revision to, const RecordVisitor& visit) const {
  if (from >= to) return {};
  bool stopped = false;
  Result<> damage;
  const RevisionKey low(from);
  const RevisionKey high(to);
  TRY(snapshot_->scan(Bucket::kKey, low.view(), high.view(),
                      [&](std::string_view key, std::string_view value) {
                        auto parsed = parse_revision_key(key);
                        if (!parsed) {
                          damage = parsed.error();
                          return false;
                        }
                        stopped = !visit(parsed->revision, parsed->tombstone, value);
                        return !stopped;
                      }));
  TRY(damage);
  if (stopped) return {};
  if (frozen_ && !visit_segment(*frozen_, frozen_->record_count(), from, to, visit)) return {};
  if (active_) visit_segment(*active_, active_count_, from, to, visit);
  return {};
}

namespace {
// One segment's pairs of [from, to), or none.
struct Layer {
  Segment::Pairs::const_iterator at, end;
  bool done() const { return at == end; }
};
Layer layer(const Segment* segment, Bucket bucket, std::string_view from, std::string_view to) {
  static const Segment::Pairs kNone;
  const Segment::Pairs& pairs = segment != nullptr ? segment->pairs(bucket) : kNone;
  return {pairs.lower_bound(from), to.empty() ? pairs.end() : pairs.lower_bound(to)};
}
}  // namespace

Result<> merged_scan(const EngineSnapshot& snapshot, const Segment* older, const Segment* newer,
                     Bucket bucket, std::string_view from, std::string_view to, const PairVisitor& visit) {
  if (!to.empty() && to <= from) return {};
  Layer a = layer(older, bucket, from, to);
  Layer b = layer(newer, bucket, from, to);
  bool stopped = false;
  // Visits what the segments hold below `limit` (all of it if there is no limit), the newer one's word first.
  const auto drain = [&](const std::string_view* limit) {
    while (!stopped) {
      const bool a_in = !a.done() && (limit == nullptr || a.at->first < *limit);
      const bool b_in = !b.done() && (limit == nullptr || b.at->first < *limit);
      if (!a_in && !b_in) return;
      const bool take_b = b_in && (!a_in || b.at->first <= a.at->first);
      const auto it = take_b ? b.at : a.at;
      if (a_in && a.at->first == it->first) ++a.at;
      if (take_b) ++b.at;
      if (it->second) stopped = !visit(it->first, *it->second);
    }
  };
  TRY(snapshot.scan(bucket, from, to, [&](std::string_view key, std::string_view value) {
    drain(&key);
    if (stopped) return false;
    const bool in_a = !a.done() && a.at->first == key;
    const bool in_b = !b.done() && b.at->first == key;
    const std::optional<std::string>* changed = in_b ? &b.at->second : in_a ? &a.at->second : nullptr;
    if (in_a) ++a.at;
    if (in_b) ++b.at;
    if (changed == nullptr) {
      stopped = !visit(key, value);
    } else if (*changed) {
      stopped = !visit(key, **changed);
    }
    return !stopped;
  }));
  drain(nullptr);
  return {};
}

}  // namespace quoin::backend
