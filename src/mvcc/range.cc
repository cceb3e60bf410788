#include "mvcc/range.h"

#include <algorithm>
#include <array>
#include <climits>
#include <optional>
#include <span>
#include <utility>

#include "mvcc/index_view.h"
#include "mvcc/key_value.h"
#include "mvcc/read_view.h"

namespace quoin::mvcc {

namespace {

// A result that waits for its place in a sorted answer.
struct Item {
  Revision revision;
  int64_t number = 0;      // what is sorted by, unless it is the value
  std::string_view value;  // in the record
  uint64_t ordinal = 0;    // place in key order: makes equal items keep it
};

bool passes(const RangeRequest& r, const RevisionNode& node) {
  if (r.max_mod_revision != 0 && node.main > r.max_mod_revision) return false;
  if (r.min_mod_revision != 0 && node.main < r.min_mod_revision) return false;
  if (r.max_create_revision != 0 && node.create_revision > r.max_create_revision) return false;
  if (r.min_create_revision != 0 && node.create_revision < r.min_create_revision) return false;
  return true;
}

bool has_filter(const RangeRequest& r) {
  return r.max_mod_revision != 0 || r.min_mod_revision != 0 || r.max_create_revision != 0 ||
         r.min_create_revision != 0;
}

int64_t number_of(SortTarget target, const RevisionNode& node, uint64_t ordinal) {
  switch (target) {
    case SortTarget::kKey:
      return static_cast<int64_t>(ordinal);
    case SortTarget::kVersion:
      return node.version();
    case SortTarget::kCreate:
      return node.create_revision;
    case SortTarget::kMod:
      return node.main;
    case SortTarget::kValue:
      return 0;
  }
  return 0;
}

}  // namespace

struct RangeScan::State {
  enum class Phase : uint8_t { kScan, kEmit, kDone };

  std::shared_ptr<const ReadView> owner;
  Snapshot own;                     // of a transaction; else empty
  const Snapshot* parts = nullptr;  // the owner's or our own
  RangeRequest request;
  KeyRange range;
  int64_t revision = 0;
  int64_t header_revision = 0;
  bool sorted = false;  // results are collected before any is visited
  bool by_key = false;
  bool by_value = false;
  bool descending = false;
  uint64_t fetch_limit = UINT64_MAX;  // of what is collected
  bool walk_counts = false;           // the count comes from walking the whole range
  Phase phase = Phase::kScan;
  backend::View::Hint near;  // of parts->records
  std::optional<IndexCursor> cursor;
  // Collected results: in key order if sorted by key, so that the answer takes them from the end; else a
  // heap, kept one from the first on, so that no step sorts more than it may look at.
  std::vector<Item> items;
  uint64_t live_seen = 0;
  int64_t visited = 0;
  int64_t count = 0;
  bool more = false;

  // True for items that come later in the answer: the heap then has the next one on top.
  bool later(const Item& a, const Item& b) const {
    int order;
    if (by_value) {
      order = a.value.compare(b.value);
    } else {
      order = a.number < b.number ? -1 : a.number > b.number;
    }
    if (order == 0) return a.ordinal > b.ordinal;
    return descending ? order < 0 : order > 0;
  }
  auto heap_order() const {
    return [this](const Item& a, const Item& b) { return later(a, b); };
  }

  // Found and not visited yet: records are looked up in groups, since their places in the file lie apart.
  std::array<Revision, backend::View::kGroupMax> group;
  size_t group_next = 0, group_size = 0;

  int64_t waiting() const { return static_cast<int64_t>(group_size - group_next); }
  bool at_limit() const { return request.limit > 0 && visited + waiting() >= request.limit; }
  Result<> load_value(Item& item);
  Result<> found(const RevisionNode& node);
  Result<> visit_group(const KvVisitor& visit, bool* go_on);
  Result<> scan(size_t* budget, const KvVisitor& visit, bool* go_on);
  Result<> emit(size_t* budget, const KvVisitor& visit, bool* go_on);
  void end_of_scan();
};

RangeScan::RangeScan(std::unique_ptr<State> state) : state_(std::move(state)) {}
RangeScan::RangeScan(RangeScan&&) noexcept = default;
RangeScan& RangeScan::operator=(RangeScan&&) noexcept = default;
RangeScan::~RangeScan() = default;

int64_t RangeScan::count() const {
  return state_->count;
}
bool RangeScan::more() const {
  return state_->more;
}
int64_t RangeScan::header_revision() const {
  return state_->header_revision;
}

Result<RangeScan> RangeScan::start(std::shared_ptr<const ReadView> view, const RangeRequest& request) {
  const Snapshot& parts = view->parts();
  return start_on(parts, std::move(view), request);
}

Result<RangeScan> RangeScan::start_on(const Snapshot& snapshot, std::shared_ptr<const ReadView> owner,
                                      const RangeRequest& request) {
  int64_t revision = request.revision;
  if (revision > snapshot.revision) return Code::kFutureRev;
  if (revision <= 0) revision = snapshot.revision;
  if (revision < snapshot.compact_revision) return Code::kCompacted;

  auto s = std::make_unique<State>();
  s->owner = std::move(owner);
  if (!s->owner) s->own = snapshot;
  s->parts = s->owner ? &s->owner->parts() : &s->own;
  s->request = request;
  s->range = {request.key, request.range_end};
  s->revision = revision;
  s->header_revision = snapshot.revision;
  s->by_key = request.sort_target == SortTarget::kKey;
  s->by_value = request.sort_target == SortTarget::kValue;
  s->descending = request.sort_order == SortOrder::kDescend;
  s->sorted = request.sort_target != SortTarget::kKey || s->descending;
  if (request.limit > 0 && request.sort_order == SortOrder::kNone && !has_filter(request)) {
    s->fetch_limit = static_cast<uint64_t>(request.limit) + 1;
  }

  const IndexRef& index = s->parts->index->ref();
  if (s->range.empty()) {
    s->phase = State::Phase::kDone;
  } else if (!s->range.single()) {
    if (index.counts_at(revision, snapshot.revision)) {
      s->count = index.count(s->range, revision, snapshot.revision);
      if (s->request.count_only || s->count == 0) s->phase = State::Phase::kDone;
    } else {
      s->walk_counts = true;
    }
    if (s->phase == State::Phase::kScan) {
      s->cursor.emplace(index, request.key, revision == snapshot.revision);
    }
  } else if (s->request.count_only) {
    s->count = index.find_live(request.key, revision) ? 1 : 0;
    s->phase = State::Phase::kDone;
  }
  return RangeScan(std::move(s));
}

Result<> RangeScan::State::load_value(Item& item) {
  ASSIGN_OR_RETURN(const std::string_view bytes, parts->records->record(item.revision, &near));
  ASSIGN_OR_RETURN(const KeyValueRef kv, decode_key_value(bytes));
  item.value = kv.value;
  return {};
}

// A live key of the range.
Result<> RangeScan::State::found(const RevisionNode& node) {
  const uint64_t ordinal = live_seen++;
  if (walk_counts || range.single()) ++count;
  if (request.count_only || !passes(request, node)) return {};
  if (sorted) {
    if (items.size() >= fetch_limit) return {};
    Item item{node.revision(), number_of(request.sort_target, node, ordinal), {}, ordinal};
    if (by_value) TRY(load_value(item));
    if (items.empty() && !walk_counts) {
      // Growing by doubling would copy everything collected so far within one step. Room that filters leave
      // unused is never touched.
      items.reserve(std::min(static_cast<uint64_t>(count), fetch_limit));
    }
    items.push_back(item);
    if (!by_key) std::push_heap(items.begin(), items.end(), heap_order());
    return {};
  }
  if (at_limit()) {
    more = true;
    return {};
  }
  group[group_size++] = node.revision();
  return {};
}

// What the visitor does not want any more stays for the next step.
Result<> RangeScan::State::visit_group(const KvVisitor& visit, bool* go_on) {
  if (group_next == group_size || !*go_on) return {};
  std::array<std::string_view, backend::View::kGroupMax> bytes;
  const size_t first = group_next;
  TRY(parts->records->records(std::span(group).subspan(first, group_size - first), bytes.data()));
  while (*go_on && group_next < group_size) {
    ++visited;
    *go_on = visit(bytes[group_next++ - first]);
  }
  if (group_next == group_size) group_next = group_size = 0;
  return {};
}

Result<> RangeScan::State::scan(size_t* budget, const KvVisitor& visit, bool* go_on) {
  if (range.single()) {
    if (const RevisionNode* node = parts->index->ref().find_live(range.key, revision)) {
      TRY(found(*node));
      if (std::exchange(group_size, 0) > 0) {
        ASSIGN_OR_RETURN(const std::string_view bytes, parts->records->record(group[0], &near));
        ++visited;
        *go_on = visit(bytes);
      }
    }
    end_of_scan();
    return {};
  }
  for (;;) {
    if (group_size == group.size() || group_next > 0) TRY(visit_group(visit, go_on));
    if (!*go_on) return {};
    // What is still needed from the rest of the range: results, one more for `more`, or the count.
    const bool enough = sorted ? items.size() >= fetch_limit : more || (at_limit() && !has_filter(request));
    const bool at_end = !cursor || !cursor->valid() || !cursor->before_end(range);
    if (at_end || (enough && !walk_counts)) {
      TRY(visit_group(visit, go_on));
      if (group_size == 0) end_of_scan();
      return {};
    }
    if (*budget == 0) return visit_group(visit, go_on);
    --*budget;
    const RevisionNode* node = cursor->entry().at(revision);
    cursor->next();
    if (node && !node->is_tombstone()) TRY(found(*node));
  }
  return {};
}

void RangeScan::State::end_of_scan() {
  cursor.reset();
  phase = Phase::kDone;
  if (request.count_only) return;
  if (sorted) {
    more = request.limit > 0 && items.size() > static_cast<uint64_t>(request.limit);
    phase = Phase::kEmit;
  } else if (!has_filter(request)) {
    more = request.limit > 0 && count > request.limit;
  }
}

Result<> RangeScan::State::emit(size_t* budget, const KvVisitor& visit, bool* go_on) {
  while (*go_on && *budget > 0) {
    if (items.empty() || at_limit()) {
      items = {};
      phase = Phase::kDone;
      return {};
    }
    --*budget;
    if (!by_key) std::pop_heap(items.begin(), items.end(), heap_order());
    const Revision next = items.back().revision;
    items.pop_back();
    ASSIGN_OR_RETURN(const std::string_view bytes, parts->records->record(next, &near));
    ++visited;
    *go_on = visit(bytes);
  }
  return {};
}

Result<bool> RangeScan::step(size_t* keys_left, const KvVisitor& visit) {
  State& s = *state_;
  bool go_on = true;
  if (s.phase == State::Phase::kScan) TRY(s.scan(keys_left, visit, &go_on));
  if (s.phase == State::Phase::kEmit && go_on) TRY(s.emit(keys_left, visit, &go_on));
  return s.phase == State::Phase::kDone;
}

Result<> RangeScan::run(const KvVisitor& visit) {
  for (;;) {
    ASSIGN_OR_RETURN(const bool done, step(SIZE_MAX, visit));
    if (done) return {};
  }
}

Result<> RangeScan::renew(std::shared_ptr<const ReadView> view) {
  State& s = *state_;
  if (view == s.owner) return {};
  if (s.phase == State::Phase::kDone) {
    s.owner = std::move(view);  // nothing is read any more
    s.parts = &s.owner->parts();
    return {};
  }
  if (s.by_value) return {};
  if (s.revision < view->compact_revision()) return Code::kCompacted;
  std::optional<std::string> next;
  if (s.cursor && s.cursor->valid()) next = std::string(s.cursor->entry().key());
  s.cursor.reset();
  s.near = {};
  s.owner = std::move(view);
  s.parts = &s.owner->parts();
  const IndexRef& index = s.parts->index->ref();
  if (next) {
    s.cursor.emplace(index, *next, s.revision == s.parts->revision);
  } else if (s.phase == State::Phase::kScan && !s.range.single() && s.waiting() == 0) {
    s.end_of_scan();
  }
  return {};
}

size_t RangeScan::bytes_held() const {
  return state_->items.size() * sizeof(Item);
}

}  // namespace quoin::mvcc
