#include "auth/permission_order.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>

namespace quoin::auth {
namespace {

using wire::authpb::Permission;
using List = std::vector<Permission>;

// Parts up to this length are sorted by insertion, which keeps equal keys in their order.
constexpr size_t kInsertionMax = 12;
// From here on a list with one misplaced element is repaired by shifting it, which does so too.
constexpr size_t kShiftingMin = 50;

bool less(const Permission& a, const Permission& b) {
  return a.key < b.key;
}

class QuickSort {
 public:
  explicit QuickSort(List& list) : list_(list) {}

  // Sorts [lo, hi), shorter than kShiftingMin.
  void sort(size_t lo, size_t hi, int unbalanced_left) {
    bool balanced = true, parted = true;
    while (hi - lo > kInsertionMax && unbalanced_left > 0) {
      const size_t length = hi - lo;
      if (!balanced) {
        scatter(lo, length);
        --unbalanced_left;
      }
      const size_t quarter = length / 4;
      size_t first = lo + quarter, pivot = lo + 2 * quarter, third = lo + 3 * quarter;
      const bool ascending = !before(pivot, first) && !before(third, pivot);
      if (balanced && parted && ascending && std::is_sorted(at(lo), at(hi), less)) return;
      // The median of the three.
      if (before(pivot, first)) std::swap(first, pivot);
      if (before(third, pivot)) std::swap(pivot, third);
      if (before(pivot, first)) std::swap(first, pivot);
      // Nothing in this part is smaller than what stands before it: the pivot may be the smallest, many times.
      if (lo > 0 && !before(lo - 1, pivot)) {
        lo = split(lo, hi, pivot, [this](size_t i, size_t p) { return !before(p, i); }).border;
        continue;
      }
      const Split s = split(lo, hi, pivot, [this](size_t i, size_t p) { return before(i, p); });
      // The pivot goes between the two parts.
      const size_t mid = s.border - 1;
      swap(mid, lo);
      parted = !s.swapped;
      const size_t left = mid - lo, right = hi - mid;
      balanced = std::min(left, right) >= length / 8;
      if (left < right) {
        sort(lo, mid, unbalanced_left);
        lo = mid + 1;
      } else {
        sort(mid + 1, hi, unbalanced_left);
        hi = mid;
      }
    }
    std::stable_sort(at(lo), at(hi), less);
  }

 private:
  struct Split {
    size_t border;  // the first that does not belong to the left
    bool swapped;
  };

  List::iterator at(size_t i) { return list_.begin() + static_cast<std::ptrdiff_t>(i); }
  bool before(size_t i, size_t j) const { return less(list_[i], list_[j]); }
  void swap(size_t i, size_t j) { std::swap(list_[i], list_[j]); }

  // Puts the pivot at `lo` and what belongs left of the border, as `left(element, pivot)` says, before the rest.
  template <class Left>
  Split split(size_t lo, size_t hi, size_t pivot, Left left) {
    swap(lo, pivot);
    Split s{lo + 1, false};
    size_t end = hi;  // from here on nothing belongs left
    while (true) {
      while (s.border < end && left(s.border, lo)) ++s.border;
      while (s.border < end && !left(end - 1, lo)) --end;
      if (s.border == end) return s;
      swap(s.border++, --end);
      s.swapped = true;
    }
  }

  // Three elements around the middle change places with others, drawn from a generator that starts the same way
  // for the same length.
  void scatter(size_t lo, size_t length) {
    uint64_t state = length;
    const uint64_t mask = (uint64_t{1} << std::bit_width(length)) - 1;
    const size_t middle = lo + length / 4 * 2;
    for (size_t i = middle - 1; i <= middle + 1; ++i) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      size_t other = state & mask;
      if (other >= length) other -= length;
      swap(i, lo + other);
    }
  }

  List& list_;
};

}  // namespace

void add_in_order(List* list, Permission added) {
  const auto at = std::upper_bound(list->begin(), list->end(), added, less);
  const bool last = at == list->end();
  const auto equal = [](const Permission& a, const Permission& b) { return a.key == b.key; };
  const size_t count = list->size() + 1;
  const bool one_order = std::adjacent_find(list->begin(), list->end(), equal) == list->end() &&
                         (at == list->begin() || std::prev(at)->key != added.key);
  if (last || one_order || count <= kInsertionMax || count >= kShiftingMin) {
    list->insert(at, std::move(added));
    return;
  }
  list->push_back(std::move(added));
  QuickSort(*list).sort(0, count, std::bit_width(count));
}

}  // namespace quoin::auth
