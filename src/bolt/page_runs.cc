#include "bolt/page_runs.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace quoin::bolt {

void PageRuns::note(PageId id) {
  const uint64_t block = id.v / kBlockPages;
  if (block >= is_changed_.size()) is_changed_.resize(std::max<uint64_t>(block + 1, 2 * is_changed_.size()));
  if (is_changed_[block]) return;
  is_changed_[block] = true;
  changed_.push_back(block);
}

void PageRuns::set(PageId id) {
  bits_.set(id);
  note(id);
}

void PageRuns::clear(PageId id) {
  if (!bits_.test(id)) return;
  bits_.clear(id);
  note(id);
}

PageRuns::Runs PageRuns::of_block(uint64_t block) {
  Runs runs;
  uint64_t run = 0;  // that reaches the end of the words looked at
  bool from_start = true;
  for (uint64_t i = 0; i < kBlockWords; ++i) {
    ++steps_;
    const uint64_t word = bits_.word(block * kBlockWords + i);
    if (word == ~uint64_t{0}) {
      run += 64;
      continue;
    }
    run += static_cast<uint64_t>(std::countr_one(word));
    runs.longest = std::max(runs.longest, static_cast<uint32_t>(run));
    if (from_start) runs.first = static_cast<uint32_t>(run);
    from_start = false;
    // Each turn takes the last page off every run, so the longest one is as long as there are turns.
    uint32_t within = 0;
    for (uint64_t rest = word; rest != 0; rest &= rest << 1) ++within;
    runs.longest = std::max(runs.longest, within);
    run = static_cast<uint64_t>(std::countl_one(word));
  }
  if (from_start) runs.first = static_cast<uint32_t>(run);
  runs.last = static_cast<uint32_t>(run);
  runs.longest = std::max(runs.longest, runs.last);
  return runs;
}

void PageRuns::join(uint64_t node, uint64_t pages_of_child) {
  ++steps_;
  const Runs& low = tree_[2 * node];
  const Runs& high = tree_[2 * node + 1];
  const auto whole = static_cast<uint32_t>(pages_of_child);
  tree_[node] = {low.first == whole ? whole + high.first : low.first,
                 high.last == whole ? whole + low.last : high.last,
                 std::max({low.longest, high.longest, low.last + high.first})};
}

void PageRuns::bring_up_to_date() {
  if (changed_.empty()) return;
  const uint64_t needed = *std::max_element(changed_.begin(), changed_.end()) + 1;
  bool all = false;
  if (needed > blocks_) {
    const uint64_t before = blocks_;
    blocks_ = std::bit_ceil(needed);
    CHECK_LE(blocks_ * kBlockPages, uint64_t{UINT32_MAX});
    std::vector<Runs> tree(2 * blocks_);
    if (before > 0)
      std::copy_n(tree_.begin() + static_cast<ptrdiff_t>(before), before,
                  tree.begin() + static_cast<ptrdiff_t>(blocks_));
    tree_ = std::move(tree);
    all = true;
  }
  for (uint64_t block : changed_) {
    is_changed_[block] = false;
    tree_[blocks_ + block] = of_block(block);
  }
  if (all) {
    for (uint64_t node = blocks_ - 1; node > 0; --node)
      join(node, blocks_ * kBlockPages / std::bit_floor(node) / 2);
  } else {
    for (uint64_t block : changed_) {
      uint64_t pages = kBlockPages;
      for (uint64_t node = (blocks_ + block) / 2; node > 0; node /= 2, pages *= 2) join(node, pages);
    }
  }
  changed_.clear();
}

std::optional<PageId> PageRuns::lowest_run(uint64_t count) {
  CHECK_GT(count, 0u);
  bring_up_to_date();
  if (blocks_ == 0 || tree_[1].longest < count) return std::nullopt;
  uint64_t node = 1, first_page = 0, pages = blocks_ * kBlockPages;
  while (node < blocks_) {
    ++steps_;
    pages /= 2;
    const Runs& low = tree_[2 * node];
    if (low.longest >= count) {
      node = 2 * node;
    } else if (low.last + tree_[2 * node + 1].first >= count) {
      return PageId(first_page + pages - low.last);
    } else {
      node = 2 * node + 1;
      first_page += pages;
    }
  }
  return lowest_in_block(node - blocks_, count);
}

PageId PageRuns::lowest_in_block(uint64_t block, uint64_t count) {
  uint64_t at = block * kBlockPages, run = 0;
  const uint64_t end = at + kBlockPages;
  while (at < end && run < count) {
    ++steps_;
    const uint64_t word = bits_.word(at / 64) >> (at % 64);
    const uint64_t left = 64 - at % 64;
    const auto ones = std::min<uint64_t>(static_cast<uint64_t>(std::countr_one(word)), left);
    if (ones > 0) {
      run += ones;
      at += ones;
      continue;
    }
    run = 0;
    at += std::min<uint64_t>(static_cast<uint64_t>(std::countr_zero(word)), left);
  }
  CHECK(run >= count, "the tree over the free pages is wrong about block {}", block);
  return PageId(at - run);
}

}  // namespace quoin::bolt
