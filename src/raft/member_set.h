// A set of member ids, kept sorted: a configuration has a handful of them, and everything that walks over
// one must do so in ascending order.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <vector>

#include "base/ids.h"

namespace quoin::raft {

class MemberSet {
 public:
  MemberSet() = default;
  MemberSet(std::initializer_list<MemberId> ids) {
    for (MemberId id : ids) insert(id);
  }
  explicit MemberSet(const std::vector<MemberId>& ids) {
    for (MemberId id : ids) insert(id);
  }
  bool contains(MemberId id) const { return std::binary_search(ids_.begin(), ids_.end(), id); }
  void insert(MemberId id) {
    auto it = std::lower_bound(ids_.begin(), ids_.end(), id);
    if (it == ids_.end() || *it != id) ids_.insert(it, id);
  }
  void erase(MemberId id) {
    auto it = std::lower_bound(ids_.begin(), ids_.end(), id);
    if (it != ids_.end() && *it == id) ids_.erase(it);
  }
  void clear() { ids_.clear(); }
  size_t size() const { return ids_.size(); }
  bool empty() const { return ids_.empty(); }
  auto begin() const { return ids_.begin(); }
  auto end() const { return ids_.end(); }
  const std::vector<MemberId>& ids() const { return ids_; }
  friend bool operator==(const MemberSet&, const MemberSet&) = default;

 private:
  std::vector<MemberId> ids_;
};

}  // namespace quoin::raft
