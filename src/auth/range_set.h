// A set of keys, kept as disjoint half-open ranges [begin, end) in ascending order.
//
// Ranges come from permissions and requests, where etcd writes them as (key, range_end): an empty range_end means
// the key alone, "\0" means every key from `key` on. An empty key belongs to no set, and a range whose end is not
// after its begin holds nothing (only data written by 3.4 has such permissions).
//
// Ownership: a set holds views into the bytes that its ranges were made of.
// Threads: a value; immutable once built.
// Source: spec api-semantics 6.4.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace quoin::auth {

// Where a range ends.
struct RangeEnd {
  enum class Kind : uint8_t {
    kAt,     // before `bytes`
    kAfter,  // after `bytes`, before its smallest extension bytes + "\0" is passed
    kOpen,   // nowhere
  };
  std::string_view bytes;
  Kind kind = Kind::kAt;

  // key < this end
  bool beyond(std::string_view key) const {
    return kind == Kind::kOpen || (kind == Kind::kAt ? key < bytes : key <= bytes);
  }
};
// Negative, 0 or positive.
int compare(const RangeEnd& a, const RangeEnd& b);

struct KeyRange {
  std::string_view begin;
  RangeEnd end;

  static KeyRange of(std::string_view key, std::string_view range_end);
  // A request with begin >= end, or an empty key.
  bool empty() const { return begin.empty() || !end.beyond(begin); }
};

class RangeSet {
 public:
  // Ranges come ascending by begin; what touches or overlaps the last one is merged into it. An empty range is
  // left out.
  void append(const KeyRange& range);

  bool contains(std::string_view key) const;
  // All of the range. An empty range is covered where its begin is, as it mostly is in etcd.
  bool covers(const KeyRange& range) const;

  const std::vector<KeyRange>& ranges() const { return ranges_; }

 private:
  // The last range that begins at or before `key`; null if there is none.
  const KeyRange* at(std::string_view key) const;

  std::vector<KeyRange> ranges_;
};

}  // namespace quoin::auth
