#include "auth/range_set.h"

#include <algorithm>

namespace quoin::auth {
namespace {

constexpr std::string_view kOpenEnd("\0", 1);

// bytes + "\0" against other.
int compare_successor(std::string_view bytes, std::string_view other) {
  if (other <= bytes) return 1;
  // other > bytes, and nothing lies between bytes and bytes + "\0".
  return other.size() == bytes.size() + 1 && other.back() == '\0' && other.starts_with(bytes) ? 0 : -1;
}

}  // namespace

int compare(const RangeEnd& a, const RangeEnd& b) {
  using Kind = RangeEnd::Kind;
  if (a.kind == Kind::kOpen || b.kind == Kind::kOpen) {
    return (a.kind == Kind::kOpen ? 1 : 0) - (b.kind == Kind::kOpen ? 1 : 0);
  }
  if (a.kind == b.kind) return a.bytes.compare(b.bytes);
  return a.kind == Kind::kAfter ? compare_successor(a.bytes, b.bytes) : -compare_successor(b.bytes, a.bytes);
}

KeyRange KeyRange::of(std::string_view key, std::string_view range_end) {
  if (range_end.empty()) return {key, {key, RangeEnd::Kind::kAfter}};
  if (range_end == kOpenEnd) return {key, {{}, RangeEnd::Kind::kOpen}};
  return {key, {range_end, RangeEnd::Kind::kAt}};
}

void RangeSet::append(const KeyRange& range) {
  if (range.empty()) return;
  if (!ranges_.empty()) {
    KeyRange& last = ranges_.back();
    // Touching counts: [a,b) and [b,c) are [a,c).
    const bool apart =
        !last.end.beyond(range.begin) && compare(last.end, {range.begin, RangeEnd::Kind::kAt}) != 0;
    if (!apart) {
      if (compare(range.end, last.end) > 0) last.end = range.end;
      return;
    }
  }
  ranges_.push_back(range);
}

const KeyRange* RangeSet::at(std::string_view key) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), key,
                                      [](std::string_view k, const KeyRange& r) { return k < r.begin; });
  return after == ranges_.begin() ? nullptr : &*std::prev(after);
}

bool RangeSet::contains(std::string_view key) const {
  if (key.empty()) return false;
  const KeyRange* r = at(key);
  return r != nullptr && r->end.beyond(key);
}

bool RangeSet::covers(const KeyRange& range) const {
  if (!contains(range.begin)) return false;
  return range.empty() || compare(range.end, at(range.begin)->end) <= 0;
}

}  // namespace quoin::auth
