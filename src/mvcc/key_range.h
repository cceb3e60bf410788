// A range of keys as requests write it: range_end empty is the key alone, one zero byte is everything from
// `key` on, else [key, range_end), which is empty if range_end <= key. Source: spec api-semantics 2.3.
#pragma once
#include <string_view>

namespace quoin::mvcc {

struct KeyRange {
  std::string_view key;
  std::string_view range_end;

  bool single() const { return range_end.empty(); }
  bool open_ended() const { return range_end.size() == 1 && range_end[0] == '\0'; }
  // For ranges: true if `k`, which is >= key, lies before the end.
  bool before_end(std::string_view k) const { return open_ended() || k < range_end; }
  bool contains(std::string_view k) const {
    if (single()) return k == key;
    return k >= key && before_end(k);
  }
  bool empty() const { return !single() && !open_ended() && range_end <= key; }
};

}  // namespace quoin::mvcc
