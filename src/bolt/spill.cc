#include "bolt/spill.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "bolt/store.h"

namespace quoin::bolt {
namespace {

// The fewest items with which a page may stay as it is (a leaf has one at least, since empty leaves go).
constexpr size_t kLeafItemsMin = 1, kBranchItemsMin = 2;
// The fewest items of a page that a cut makes. Bbolt's number: two items of a little over half a page, each on
// pages of its own, would waste nearly half of them.
constexpr size_t kCutItemsMin = 2;

size_t items_min(const Node& node) {
  return node.leaf ? kLeafItemsMin : kBranchItemsMin;
}

// Whether `items` items may share a run of `pages` pages. Sharing saves the rest of a page now and again, and
// costs that all are written again when one goes: not worth it for many or for long ones.
bool may_share(size_t items, uint64_t pages) {
  constexpr size_t kSharedItemsMax = 4;
  constexpr uint64_t kSharedPagesMax = 64;
  return pages == 1 || items <= kCutItemsMin || (items <= kSharedItemsMax && pages <= kSharedPagesMax);
}

}  // namespace

void encode_node(const Node& node, size_t begin, size_t end, PageHeader header, char* p) {
  header.flags = node.leaf ? kFlagLeaf : kFlagBranch;
  header.count = static_cast<uint16_t>(end - begin);
  header.write(p);
  char* element = p + kPageHeaderBytes;
  char* data = element + (end - begin) * kElementBytes;
  for (size_t i = begin; i < end; ++i, element += kElementBytes) {
    const Entry& e = node.entries[i];
    const auto pos = static_cast<uint32_t>(data - element);
    std::memcpy(data, e.key_data, e.key_bytes);
    data += e.key_bytes;
    if (node.leaf) {
      store_le<uint32_t>(element, e.flags);
      store_le<uint32_t>(element + 4, pos);
      store_le<uint32_t>(element + 8, e.key_bytes);
      store_le<uint32_t>(element + 12, e.value_bytes);
      if (e.value_bytes > 0) std::memcpy(data, e.value_data, e.value_bytes);
      data += e.value_bytes;
    } else {
      store_le<uint32_t>(element, pos);
      store_le<uint32_t>(element + 4, e.key_bytes);
      store_le<uint64_t>(element + 8, e.child);
    }
  }
}

std::vector<WriteRun> write_runs(const CommitPlan& plan, uint32_t page_size) {
  constexpr size_t kPartsMax = 512;  // stays below every system's limit on parts of one write
  constexpr uint64_t kRunBytesMax = 8u << 20;
  std::vector<WriteRun> runs;
  PageId next;
  uint64_t run_bytes = 0;
  for (const PageWrite& w : plan.pages) {
    const uint64_t bytes = w.count * page_size;
    if (runs.empty() || w.first != next || runs.back().parts.size() == kPartsMax ||
        run_bytes + bytes > kRunBytesMax) {
      runs.push_back({w.first.v * page_size, {}});
      run_bytes = 0;
    }
    runs.back().parts.emplace_back(w.bytes, bytes);
    run_bytes += bytes;
    next = w.first + w.count;
  }
  return runs;
}

Spiller::Spiller(WriteTx& tx, Freelist& freelist, bool readers_open, CommitPlan* plan)
    : tx_(tx),
      freelist_(freelist),
      readers_open_(readers_open),
      plan_(*plan),
      page_size_(plan->meta.page_size) {}

Result<> Spiller::run() {
  Bucket& root = *tx_.root_;
  TRY(spill_bucket(root, false));
  plan_.meta.root = root.tree_.root;
  plan_.meta.root_sequence = root.sequence_;
  return {};
}

PageWrite& Spiller::allocate(uint64_t count) {
  PageId first;
  if (const auto free = freelist_.allocate(count)) {
    first = *free;
  } else {
    first = plan_.meta.hwm;
    plan_.meta.hwm = plan_.meta.hwm + count;
  }
  freelist_.note_allocated(first, plan_.meta.txid, readers_open_);
  plan_.pages.push_back({first, count, plan_.memory.allocate(count * page_size_), true});
  return plan_.pages.back();
}

// ---- buckets ----

Result<> Spiller::spill_nested(Bucket& bucket) {
  for (auto& [name, nested] : bucket.open_) {
    ASSIGN_OR_RETURN(const bool header_changed, spill_bucket(*nested, true));
    if (header_changed) TRY(bucket.put_item(name, header_value(*nested), kItemBucket, true));
  }
  return {};
}

Result<bool> Spiller::spill_bucket(Bucket& bucket, bool may_inline) {
  TRY(spill_nested(bucket));
  if (!bucket.dirty_) return false;
  if (!bucket.tree_.node) return true;  // only the sequence changed
  if (!bucket.tree_.node->leaf) {
    TRY(rebalance(bucket, *bucket.tree_.node));
    TRY(collapse_root(bucket));
    if (!bucket.tree_.node) return true;  // what is left is a page that did not change
  }
  Node* node = bucket.tree_.node;
  if (may_inline && fits_inline(*node)) {
    discard(*node);
    bucket.tree_.root = PageId();
    return true;
  }
  std::vector<Piece> pieces;
  TRY(spill_node(*node, bucket.fill_, &pieces));
  while (pieces.size() > 1) {
    Node* top = tx_.new_node(false);
    top->modified = true;
    for (const Piece& p : pieces) top->entries.push_back(Entry::branch(p.first_key, p.page, nullptr));
    pieces.clear();
    TRY(spill_node(*top, bucket.fill_, &pieces));
  }
  bucket.tree_.root = pieces.front().page;
  bucket.tree_.inline_page = nullptr;
  return true;
}

bool Spiller::fits_inline(const Node& node) const {
  if (!node.leaf || node.bytes() > page_size_ / 4) return false;
  return std::none_of(node.entries.begin(), node.entries.end(),
                      [](const Entry& e) { return e.flags == kItemBucket; });
}

// The item value that names this bucket in its parent.
std::string_view Spiller::header_value(Bucket& bucket) {
  const BucketHeader header{bucket.tree_.root, bucket.sequence_};
  uint64_t image_bytes = 0;
  const Node* node = bucket.tree_.node;
  if (header.root == PageId())
    image_bytes = node ? node->bytes() : PageView(bucket.tree_.inline_page).used_bytes();
  char* value = tx_.arena_->allocate(kBucketHeaderBytes + image_bytes);
  header.write(value);
  if (header.root == PageId()) {
    char* image = value + kBucketHeaderBytes;
    if (node)
      encode_node(*node, 0, node->entries.size(), {}, image);
    else
      std::memcpy(image, bucket.tree_.inline_page, image_bytes);
  }
  return {value, kBucketHeaderBytes + image_bytes};
}

// ---- merging ----

void Spiller::discard(Node& node) {
  if (node.page != PageId()) tx_.free_page_run(node.page, node.page_count);
  node.page = PageId();
}

// From the leaves up. Joining two branches can give a child that stood alone a neighbour to join, which can
// leave the branch with a single child again; each round has fewer nodes, so this ends.
Result<> Spiller::rebalance(Bucket& bucket, Node& branch) {
  for (Entry& e : branch.entries)
    if (e.node && !e.node->leaf) TRY(rebalance(bucket, *e.node));
  const auto unbalanced = [](const Entry& e) { return e.node && e.node->unbalanced; };
  for (bool again = true; again;) {
    again = false;
    if (std::any_of(branch.entries.begin(), branch.entries.end(), unbalanced))
      TRY(merge_children(bucket, branch));
    for (Entry& e : branch.entries) {
      if (!e.node || !e.node->merged) continue;
      e.node->merged = false;
      TRY(rebalance(bucket, *e.node));
      again = again || e.node->entries.size() < kBranchItemsMin;
    }
  }
  return {};
}

// The child at `index`, whether it is a node or still a page.
Result<Spiller::Extent> Spiller::extent_of(Bucket& bucket, Node& branch, size_t index) {
  const Entry& e = branch.entries[index];
  if (e.node) return Extent{e.node->entries.size(), e.node->bytes()};
  ASSIGN_OR_RETURN(const PageView page, bucket.tx_.store_->peek(PageId(e.child), tx_.source_.hwm));
  return Extent{page.count(), page.used_bytes()};
}

// Whether two neighbours, one of which lost entries, are better one: they fit into one page, or into fewer
// pages than they have now. Where items come in no order, an item that is alone goes with its neighbour also
// for no more pages, which saves the branch an entry; where they were written in order it is better left for
// the neighbour with which it saves a page.
bool Spiller::worth_joining(const Extent& a, const Extent& b, bool leaf, double fill) const {
  const uint64_t bytes = a.bytes + b.bytes - kPageHeaderBytes;
  if (bytes <= page_size_) return true;
  const uint64_t pages = pages_for(bytes, page_size_);
  if (!leaf || !may_share(a.items + b.items, pages)) return false;
  const uint64_t pages_now = pages_for(a.bytes, page_size_) + pages_for(b.bytes, page_size_);
  const bool alone = std::min(a.items, b.items) == kLeafItemsMin;
  return pages < pages_now || (pages == pages_now && alone && !in_order(fill));
}

Result<> Spiller::merge_into_left(Bucket& bucket, Node& left, Node& node) {
  if (left.leaf != node.leaf)
    return bucket.tx_.store_->corruption(
        fmt::format("pages {} and {} are siblings, but only one is a leaf", left.page, node.page));
  left.entries.insert(left.entries.end(), node.entries.begin(), node.entries.end());
  left.modified = left.unbalanced = true;
  left.merged = !left.leaf;
  discard(node);
  return {};
}

// One pass from left to right. Empty children go. A child that lost entries and is small joins its left
// neighbour, or else its right one, where that is worth it; a branch with a single child joins whatever the
// size (and is cut again when it is written). In a bucket written in order it need not be small: nothing will
// be put between its items, so room in it is of no use.
Result<> Spiller::merge_children(Bucket& bucket, Node& branch) {
  const size_t before = branch.entries.size();
  size_t kept = 0;  // entries [0, kept) are done
  for (size_t i = 0; i < branch.entries.size(); ++i) {
    const Entry entry = branch.entries[i];
    Node* node = entry.node;
    if (node && node->entries.empty()) {
      discard(*node);
      continue;
    }
    branch.entries[kept] = entry;
    const Extent extent = node && node->unbalanced ? Extent{node->entries.size(), node->bytes()} : Extent();
    const bool forced = node && !node->leaf && node->entries.size() < kBranchItemsMin;
    const bool small = extent.bytes <= page_size_ / 4 || extent.items <= (node ? items_min(*node) : 0);
    if (!node || !node->unbalanced || !(small || in_order(bucket.fill_))) {
      ++kept;
      continue;
    }
    if (kept > 0) {
      ASSIGN_OR_RETURN(const Extent left, extent_of(bucket, branch, kept - 1));
      if (forced || worth_joining(left, extent, node->leaf, bucket.fill_)) {
        TRY(bucket.load_child(branch, kept - 1));
        TRY(merge_into_left(bucket, *branch.entries[kept - 1].node, *node));
        continue;
      }
    }
    if (i + 1 < branch.entries.size()) {
      ASSIGN_OR_RETURN(const Extent right, extent_of(bucket, branch, i + 1));
      if (forced || worth_joining(extent, right, node->leaf, bucket.fill_)) {
        // The right one's entries join this node, which takes its place and is looked at again.
        TRY(bucket.load_child(branch, i + 1));
        TRY(merge_into_left(bucket, *node, *branch.entries[i + 1].node));
        branch.entries[i + 1] = entry;
        continue;
      }
    }
    ++kept;
  }
  branch.entries.resize(kept);
  if (kept != before) branch.modified = branch.unbalanced = true;
  return {};
}

Result<> Spiller::collapse_root(Bucket& bucket) {
  for (;;) {
    Node* root = bucket.tree_.node;
    if (root->leaf || root->entries.size() > 1) return {};
    if (root->entries.empty()) {
      root->leaf = true;
      root->modified = true;
      return {};
    }
    discard(*root);
    const Entry only = root->entries.front();
    bucket.tree_.node = only.node;
    bucket.tree_.root = PageId(only.child);
    if (only.node) continue;
    // A page nobody changed becomes the root, unless it is a branch that must go the same way.
    ASSIGN_OR_RETURN(const PageView page, tx_.store_->peek(PageId(only.child), tx_.source_.hwm));
    if (page.leaf() || page.count() > 1) return {};
    bucket.tree_.node = tx_.node_of(page);
  }
}

// ---- writing ----

Result<> Spiller::spill_children(Node& branch, double fill) {
  std::vector<Entry> entries;
  entries.reserve(branch.entries.size() + 8);
  std::vector<Piece> pieces;
  for (const Entry& e : branch.entries) {
    if (!e.node) {
      entries.push_back(e);
      continue;
    }
    pieces.clear();
    TRY(spill_node(*e.node, fill, &pieces));
    const bool same = pieces.size() == 1 && pieces[0].page.v == e.child && pieces[0].first_key == e.key();
    if (!same) branch.modified = true;
    for (const Piece& p : pieces) entries.push_back(Entry::branch(p.first_key, p.page, nullptr));
  }
  branch.entries = std::move(entries);
  return {};
}

Result<> Spiller::spill_node(Node& node, double fill, std::vector<Piece>* pieces) {
  if (!node.leaf) TRY(spill_children(node, fill));
  if (!node.modified && node.page != PageId()) {
    pieces->push_back({node.entries.empty() ? std::string_view() : node.entries.front().key(), node.page});
    return {};
  }
  discard(node);
  uint64_t remaining = node.bytes();
  size_t begin = 0;
  do {
    const size_t end = cut(node, begin, remaining, fill);
    for (size_t i = begin; i < end; ++i) remaining -= kElementBytes + node.entries[i].payload(node.leaf);
    const PageId page = write_node(node, begin, end);
    pieces->push_back({end > begin ? node.entries[begin].key() : std::string_view(), page});
    begin = end;
  } while (begin < node.entries.size());
  return {};
}

// Where the page that starts with entry `begin` ends. `remaining` is the size of a page with all that is
// left.
size_t Spiller::cut(const Node& node, size_t begin, uint64_t remaining, double fill) const {
  const size_t n = node.entries.size();
  if (node.leaf && in_order(fill)) return cut_densely(node, begin);
  if ((remaining <= page_size_ || n - begin <= 2 * kCutItemsMin) && n - begin <= kPageItemsMax) return n;
  const auto threshold = static_cast<uint64_t>(page_size_ * fill);
  uint64_t bytes = kPageHeaderBytes;
  size_t end = begin;
  while (end < n - kCutItemsMin && end - begin < kPageItemsMax) {
    const uint64_t more = kElementBytes + node.entries[end].payload(node.leaf);
    if (end - begin >= kCutItemsMin && bytes + more > threshold) break;
    bytes += more;
    ++end;
  }
  return end;
}

// For a leaf whose items were written in order, so that nothing will be put between them: the end that leaves
// the least of the pages unused; of equal ones the nearest that is not just one item (fewer branch entries).
size_t Spiller::cut_densely(const Node& node, size_t begin) const {
  size_t best = begin;
  uint64_t bytes = kPageHeaderBytes, best_payload = 0, best_pages = 1;
  for (size_t end = begin; end < node.entries.size() && end - begin < kPageItemsMax; ++end) {
    bytes += kElementBytes + node.entries[end].payload(true);
    const uint64_t pages = pages_for(bytes, page_size_);
    if (!may_share(end + 1 - begin, pages)) break;
    const uint64_t payload = bytes - kPageHeaderBytes;
    const bool alone = best - begin < kCutItemsMin;
    if (alone ? payload * best_pages < best_payload * pages : payload * best_pages <= best_payload * pages)
      continue;
    best = end + 1;
    best_payload = payload;
    best_pages = pages;
  }
  return best;
}

PageId Spiller::write_node(const Node& node, size_t begin, size_t end) {
  uint64_t payload = 0;
  for (size_t i = begin; i < end; ++i) payload += node.entries[i].payload(node.leaf);
  const uint64_t bytes = node_bytes(end - begin, payload);
  const uint64_t pages = pages_for(bytes, page_size_);
  const PageWrite& w = allocate(pages);
  encode_node(node, begin, end, {w.first, 0, 0, static_cast<uint32_t>(pages - 1)}, w.bytes);
  std::memset(w.bytes + bytes, 0, pages * page_size_ - bytes);
  return w.first;
}

}  // namespace quoin::bolt
