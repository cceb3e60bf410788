#include "bolt/check.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "base/check.h"
#include "bolt/page_map.h"
#include "bolt/store.h"

namespace quoin::bolt {
namespace {

class Walk {
 public:
  Walk(const ReadTx& tx, const PageSet* free, PageSet* reachable, const FindingSink& sink, PageMap* map)
      : store_(tx.store()), hwm_(tx.meta().hwm), free_(free), reachable_(*reachable), sink_(sink), map_(map) {
    reachable_.assign(hwm_.v, false);
  }

  void bucket(PageId root) {
    if (++buckets_deep_ > kDepthMax) {
      find(fmt::format("page {}: buckets are nested deeper than {} levels", root, kDepthMax));
    } else {
      bucket_tree(root);
    }
    --buckets_deep_;
  }

 private:
  using Key = std::optional<std::string_view>;

  void bucket_tree(PageId root) {
    // Pages first, then keys, then the buckets within: bolt's order. Damaged pages are skipped by the later
    // two.
    if (!stopped_) pages(root);
    if (!stopped_) keys(root, {}, {});
    if (!stopped_) nested(root);
  }

  bool find(std::string text) {
    ++findings_;
    if (!stopped_ && !sink_(std::move(text))) stopped_ = true;
    return false;
  }
  std::string stack() const { return fmt::format("[{}]", fmt::join(stack_, " ")); }

  // Marks the page's run as reached. False if the page cannot be walked.
  bool reach(PageId id) {
    if (stack_.size() > kDepthMax)
      return find(
          fmt::format("page {}: the tree is deeper than {} levels (stack: {})", id, kDepthMax, stack()));
    if (id.v >= hwm_.v) return find(fmt::format("page {}: out of bounds: {} (stack: {})", id, hwm_, stack()));
    if (id.v < 2) return find(fmt::format("page {}: multiple references (stack: {})", id, stack()));
    if (reachable_[id.v]) return find(fmt::format("page {}: multiple references (stack: {})", id, stack()));
    reachable_[id.v] = true;
    if (map_) map_->note_first(id);
    if (free_ && (*free_)[id.v]) find(fmt::format("page {}: reachable freed", id));
    const uint64_t available = store_.available(id);
    const char* p = store_.page_data(id);
    if (auto wrong = validate_page(p, id, store_.page_size(), available, hwm_, false))
      return find(describe(id, p, available, *wrong));
    for (uint64_t i = 1; i <= PageView(p).overflow(); ++i) {
      const PageId extra = id + i;
      if (reachable_[extra.v]) find(fmt::format("page {}: multiple references (stack: {})", extra, stack()));
      reachable_[extra.v] = true;
      if (free_ && (*free_)[extra.v]) find(fmt::format("page {}: reachable freed", extra));
    }
    return true;
  }
  std::string describe(PageId id, const char* p, uint64_t available, const std::string& wrong) const {
    if (available < store_.page_size()) return wrong;
    const PageHeader h = PageHeader::read(p);
    if (h.id != id) return "assertion failed: " + wrong;
    if (h.flags == kFlagMeta || h.flags == kFlagFreelist)
      return fmt::format("{} (stack: {})", wrong, stack());
    if (h.flags != kFlagBranch && h.flags != kFlagLeaf)
      return fmt::format("assertion failed: page {}: has unexpected type/flags: {:x}", id, h.flags);
    return wrong;
  }

  void pages(PageId id) {
    if (stopped_) return;
    stack_.push_back(id);
    if (reach(id)) {
      const PageView page(store_.page_data(id));
      if (!page.leaf())
        for (size_t i = 0; i < page.count() && !stopped_; ++i) pages(page.child(i));
    } else {
      skip_.push_back(id);
    }
    stack_.pop_back();
  }

  // Order of keys across the tree. `from` is the least key allowed first, `to` bounds them all. Answers the
  // largest key of the subtree.
  Key keys(PageId id, Key from, Key to) {
    if (stopped_ || skipped(id)) return from;
    stack_.push_back(id);
    const PageView page(store_.page_data(id));
    const bool nested_page = stack_.size() > 1;
    if (nested_page && page.count() == 0) find(fmt::format("page {}: leaf without items below a branch", id));
    Key last = from;
    bool in_order = true;
    for (size_t i = 0; i < page.count() && !stopped_; ++i) {
      const std::string_view key = page.key(i);
      const size_t before = findings_;
      order(page.leaf() ? id : page.child(i), page.leaf() ? "leaf" : "branch", i, key, last, to);
      in_order = in_order && findings_ == before;
      if (page.leaf()) {
        last = key;
      } else {
        last = keys(page.child(i), key, i + 1 < page.count() ? Key(page.key(i + 1)) : to);
      }
    }
    if (in_order) store_.mark_sound(id);
    stack_.pop_back();
    return last;
  }
  void order(PageId id, std::string_view type, size_t i, std::string_view key, Key previous, Key to) {
    if (i == 0 && previous && *previous > key)
      find(fmt::format(
          "the first key[{}]=(hex){} on {} page({}) needs to be >= the key in the ancestor ({}). Stack: {}",
          i, hex_bytes(key), type, id, hex_bytes(*previous), stack()));
    if (i > 0 && previous && *previous >= key)
      find(fmt::format(
          "key[{}]=(hex){} on {} page({}) needs to be > (found {}) than previous element (hex){}. Stack: {}",
          i, hex_bytes(key), type, id, *previous > key ? '<' : '=', hex_bytes(*previous), stack()));
    // The key named at the end is the one before: so does bolt, whatever its words say.
    if (to && key >= *to)
      find(fmt::format(
          "key[{}]=(hex){} on {} page({}) needs to be < than key of the next element in ancestor (hex){}. "
          "Pages stack: {}",
          i, hex_bytes(key), type, id, hex_bytes(previous.value_or(std::string_view())), stack()));
  }

  void nested(PageId id) {
    if (stopped_ || skipped(id)) return;
    const PageView page(store_.page_data(id));
    for (size_t i = 0; i < page.count() && !stopped_; ++i) {
      if (!page.leaf()) {
        nested(page.child(i));
      } else if (page.item_flags(i) == kItemBucket) {
        const PageId root = BucketHeader::read(page.value(i)).root;
        if (root != PageId()) bucket(root);
      }
    }
  }
  bool skipped(PageId id) const { return std::find(skip_.begin(), skip_.end(), id) != skip_.end(); }

  const Store& store_;
  const PageId hwm_;
  const PageSet* free_;
  PageSet& reachable_;
  const FindingSink& sink_;
  PageMap* const map_;
  std::vector<PageId> stack_;
  std::vector<PageId> skip_;  // reached, but damaged, or a second time
  size_t findings_ = 0;
  size_t buckets_deep_ = 0;
  bool stopped_ = false;
};

// Go stops with these texts when it touches a meta page whose header is off.
void check_meta_header(const Store& store, uint64_t slot, std::vector<std::string>* findings) {
  const PageHeader h = PageHeader::read(store.page_data(PageId(slot)));
  if (h.id != PageId(slot))
    findings->push_back(
        fmt::format("assertion failed: Page expected to be: {}, but self identifies as {}", slot, h.id));
  else if (h.flags != kFlagMeta)
    findings->push_back(
        fmt::format("assertion failed: page {}: has unexpected type/flags: {:x}", slot, h.flags));
}

}  // namespace

void check_reachable(const ReadTx& tx, const PageSet* free, PageSet* reachable, const FindingSink& sink,
                     PageMap* map) {
  Walk(tx, free, reachable, sink, map).bucket(tx.meta().root);
}

std::vector<std::string> check_file(const ReadTx& tx, const PageSet* free) {
  std::vector<std::string> findings;
  for (uint64_t slot = 0; slot < 2; ++slot) check_meta_header(tx.store(), slot, &findings);
  PageSet reachable;
  check_reachable(tx, free, &reachable, [&](std::string finding) {
    findings.push_back(std::move(finding));
    return true;
  });
  if (!free) return findings;
  for (uint64_t id = 2; id < tx.meta().hwm.v; ++id)
    if (!reachable[id] && !(*free)[id]) findings.push_back(fmt::format("page {}: unreachable unfreed", id));
  return findings;
}

}  // namespace quoin::bolt
