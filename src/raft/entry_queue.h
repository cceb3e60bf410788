// A run of log entries in one piece of memory that grows at the back and shrinks at both ends: the body of
// the unstable log and of the memory log. Entries dropped at the front release their data at once; their
// slots are reclaimed only when they are more than half of all slots, so that dropping costs constant time on
// average.
#pragma once
#include <cstddef>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include "raft/types.h"

namespace quoin::raft {

class EntryQueue {
 public:
  size_t size() const { return slots_.size() - head_; }
  bool empty() const { return size() == 0; }
  const Entry& operator[](size_t i) const { return slots_[head_ + i]; }
  const Entry& back() const { return slots_.back(); }
  // Entries [from, to) by position; valid until the next change.
  std::span<const Entry> range(size_t from, size_t to) const {
    return std::span<const Entry>(slots_).subspan(head_ + from, to - from);
  }

  void push_back(Entry e) { slots_.push_back(std::move(e)); }
  void append(std::span<Entry> es) {
    slots_.insert(slots_.end(), std::make_move_iterator(es.begin()), std::make_move_iterator(es.end()));
  }
  // Keeps the first n.
  void truncate(size_t n) { slots_.resize(head_ + n); }
  void drop_front(size_t n) {
    for (size_t i = 0; i < n; ++i) slots_[head_ + i] = Entry{};
    head_ += n;
    if (head_ == slots_.size()) {
      slots_.clear();
      head_ = 0;
    } else if (head_ > slots_.size() / 2) {
      slots_.erase(slots_.begin(), slots_.begin() + static_cast<ptrdiff_t>(head_));
      head_ = 0;
    }
  }
  void clear() {
    slots_.clear();
    head_ = 0;
  }

 private:
  std::vector<Entry> slots_;
  size_t head_ = 0;
};

}  // namespace quoin::raft
