#include "cmd/grpcproxy/range_cache.h"

#include <vector>

namespace quoin::cmd::grpcproxy {
namespace {

bool unbounded(std::string_view end) {
  return end == std::string_view("\0", 1);
}

// Nothing is in it.
bool inverted(std::string_view key, std::string_view end) {
  return !end.empty() && !unbounded(end) && end <= key;
}

// Whether [a, a_end) and [b, b_end) have a key in common; an empty end is the key alone.
bool overlap(std::string_view a, std::string_view a_end, std::string_view b, std::string_view b_end) {
  if (inverted(a, a_end) || inverted(b, b_end)) return false;
  const auto below = [](std::string_view key, std::string_view from, std::string_view end) {
    return end.empty() ? key <= from : unbounded(end) || key < end;
  };
  return below(a, b, b_end) && below(b, a, a_end);
}

}  // namespace

void RangeCache::add(std::string_view name, std::string_view key, std::string_view end, int64_t revision,
                     std::string_view answer) {
  if (revision <= compacted_) return;
  if (const auto old = by_name_.find(name); old != by_name_.end()) erase(old->second);
  entries_.push_front({std::string(name), std::string(key), std::string(end), std::string(answer)});
  const auto it = entries_.begin();
  by_name_.emplace(it->name, it);
  if (revision == 0 && end.empty()) {
    it->of_one_key = true;
    by_key_.emplace(it->key, it);
  } else if (revision == 0) {
    it->of_a_range = true;
    ranges_.emplace(&*it, it);
  }
  bytes_ += it->bytes();
  while (entries_.size() > entries_max_ || (bytes_ > bytes_max_ && !entries_.empty())) {
    erase(std::prev(entries_.end()));
  }
}

void RangeCache::erase(Entries::iterator it) {
  bytes_ -= it->bytes();
  by_name_.erase(it->name);
  if (it->of_one_key) {
    auto [first, last] = by_key_.equal_range(it->key);
    for (; first != last; ++first) {
      if (first->second != it) continue;
      by_key_.erase(first);
      break;
    }
  }
  if (it->of_a_range) ranges_.erase(&*it);
  entries_.erase(it);
}

const std::string* RangeCache::find(std::string_view name) {
  const auto it = by_name_.find(name);
  if (it == by_name_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, it->second);
  return &it->second->answer;
}

bool RangeCache::compacted(std::string_view name, int64_t revision) {
  if (revision <= 0 || revision >= compacted_) return false;
  if (const auto it = by_name_.find(name); it != by_name_.end()) erase(it->second);
  return true;
}

void RangeCache::invalidate(std::string_view key, std::string_view end) {
  std::vector<Entries::iterator> hit;
  const auto first = by_key_.lower_bound(key);
  const auto last = end.empty()      ? by_key_.upper_bound(key)
                    : unbounded(end) ? by_key_.end()
                                     : by_key_.lower_bound(end);
  for (auto it = first; !inverted(key, end) && it != last; ++it) hit.push_back(it->second);
  for (const auto& [entry, it] : ranges_) {
    if (overlap(key, end, it->key, it->end)) hit.push_back(it);
  }
  for (const auto it : hit) erase(it);
}

void RangeCache::compact(int64_t revision) {
  compacted_ = std::max(compacted_, revision);
}

}  // namespace quoin::cmd::grpcproxy
