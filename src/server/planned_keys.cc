#include "server/planned_keys.h"

namespace quoin::server {

namespace {
bool no_end(std::string_view end) {
  return mvcc::KeyRange{{}, end}.open_ended();
}
bool reaches(std::string_view end, std::string_view key) {
  return no_end(end) || key <= end;
}
}  // namespace

void PlannedKeys::erase(const mvcc::KeyRange& range) {
  if (range.empty()) return;
  if (range.single()) {
    single_[range.key] = false;
    return;
  }
  for (auto it = single_.lower_bound(range.key); it != single_.end() && range.before_end(it->first);) {
    it = single_.erase(it);
  }
  std::string_view begin = range.key, end = range.range_end;
  auto it = erased_.upper_bound(begin);
  if (it != erased_.begin() && reaches(std::prev(it)->second, begin)) --it;
  while (it != erased_.end() && reaches(end, it->first)) {
    begin = std::min(begin, it->first);
    if (!no_end(end) && (no_end(it->second) || it->second > end)) end = it->second;
    it = erased_.erase(it);
  }
  erased_.emplace(begin, end);
}

bool PlannedKeys::live(std::string_view key) const {
  if (auto it = single_.find(key); it != single_.end()) return it->second;
  if (auto it = erased_.upper_bound(key); it != erased_.begin()) {
    --it;
    if (mvcc::KeyRange{it->first, it->second}.contains(key)) return false;
  }
  return store_.find_current(key).has_value();
}

}  // namespace quoin::server
