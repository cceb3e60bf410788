#include "bolt/owner.h"

#include <algorithm>

#include "base/check.h"
#include "bolt/db.h"
#include "bolt/freelist.h"
#include "bolt/page_map.h"
#include "bolt/store.h"

namespace quoin::bolt {
namespace {

// Items of a leaf are cheap beside the page they stand on.
constexpr uint64_t kItemsPerPage = 64;

}  // namespace

// ---- BucketWalk ----

BucketWalk::BucketWalk(const Store& store, const Meta& meta)
    : store_(store),
      hwm_(meta.hwm),
      root_({&store, meta.hwm}, {meta.root, nullptr, nullptr}, meta.root_sequence) {}

Result<> BucketWalk::count_bucket() {
  if (++buckets_ > 2 * hwm_.v)  // those of the top level are met twice
    return store_.corruption(fmt::format("{} buckets in {} pages", buckets_, hwm_));
  return {};
}

Result<> BucketWalk::push(std::string name, BucketView bucket) {
  stack_.push_back({std::move(name), bucket, bucket.cursor()});
  ASSIGN_OR_RETURN(const bool any, stack_.back().cursor.first());
  static_cast<void>(any);
  return {};
}

std::vector<std::string> BucketWalk::names() const {
  std::vector<std::string> names;
  for (size_t i = 1; i < stack_.size(); ++i) names.push_back(stack_[i].name);
  return names;
}

Result<std::optional<BucketWalk::Stop>> BucketWalk::next(uint64_t* pages_left) {
  if (stage_ == Stage::kRoot) {
    stage_ = Stage::kTop;
    TRY(push({}, root_));
    return std::optional(Stop{{}, root_});
  }
  while (stage_ == Stage::kTop && *pages_left > 0) {
    --*pages_left;
    Level& top = stack_.back();
    if (!top.cursor.valid()) {
      stage_ = Stage::kNested;
      stack_.clear();
      TRY(push({}, root_));
      break;
    }
    const std::string name(top.cursor.key());
    const bool is_bucket = top.cursor.is_bucket();
    TRY(top.cursor.next());
    if (!is_bucket) continue;
    ASSIGN_OR_RETURN(const auto found, top.bucket.bucket(name));
    CHECK(found.has_value());
    if (found->is_inline()) continue;
    TRY(count_bucket());
    return std::optional(Stop{{name}, *found});
  }
  if (stage_ == Stage::kNested) return next_nested(pages_left);
  return std::optional<Stop>();
}

Result<std::optional<BucketWalk::Stop>> BucketWalk::next_nested(uint64_t* pages_left) {
  for (uint64_t items = 0; *pages_left > 0; ++items) {
    if (items % kItemsPerPage == kItemsPerPage - 1) --*pages_left;
    if (stack_.empty()) {
      stage_ = Stage::kEnd;
      break;
    }
    Level& level = stack_.back();
    if (!level.cursor.valid()) {
      stack_.pop_back();
      continue;
    }
    std::string name(level.cursor.is_bucket() ? level.cursor.key() : std::string_view());
    TRY(level.cursor.next());
    if (name.empty()) continue;
    ASSIGN_OR_RETURN(const auto found, level.bucket.bucket(name));
    CHECK(found.has_value());
    if (found->is_inline()) continue;  // no pages, and no bucket within
    if (stack_.size() > kDepthMax)
      return store_.corruption(
          fmt::format("page {}: buckets are nested deeper than {} levels", found->root(), kDepthMax));
    TRY(count_bucket());
    TRY(push(std::move(name), *found));
    if (stack_.size() > 2) return std::optional(Stop{names(), *found});
  }
  return std::optional<Stop>();
}

// ---- OwnerSearch ----

Result<std::optional<PageOwner>> OwnerSearch::step(uint64_t pages_max) {
  CHECK(!db_.commit_running());
  if (db_.options_.read_only) return make_error(Code::kUnsupported, "{}: open for reading only", db_.path());
  ASSIGN_OR_RETURN(auto owner, without_tree());
  if (owner) return owner;
  if (txid_ != db_.meta_.txid) {
    begin();
    ASSIGN_OR_RETURN(owner, try_last_bucket());
    if (owner) return owner;
  }
  uint64_t pages_left = pages_max;
  while (pages_left > 0 && (learning_ || !walk_->finished())) {
    if (!learning_) {
      ASSIGN_OR_RETURN(auto stop, walk_->next(&pages_left));
      if (!stop) continue;
      if (db_.page_map_->known_first(page_)) {
        pages_left -= std::min<uint64_t>(pages_left, 4);
        ASSIGN_OR_RETURN(owner, try_bucket(*stop));
        if (owner) return owner;
        continue;
      }
      if (stop->names.size() < 2) continue;  // the open has put these into the map
      TRY(begin_learning(stop->bucket.root()));
      learning_ = std::move(stop);
    }
    TRY(learn(&pages_left));
    if (!branches_.empty()) continue;
    const BucketWalk::Stop learned = *std::move(learning_);
    learning_.reset();
    ASSIGN_OR_RETURN(owner, without_tree());
    if (!owner && db_.page_map_->known_first(page_)) {
      ASSIGN_OR_RETURN(owner, try_bucket(learned));
    }
    if (owner) return owner;
  }
  if (learning_ || !walk_->finished()) return std::optional<PageOwner>();
  return nobody();
}

Error OwnerSearch::nobody() const {
  if (!db_.page_map_->known_first(page_))
    return db_.store_->corruption(fmt::format("page {}: unreachable unfreed", page_));
  return db_.store_->corruption(fmt::format("page {}: its first key leads to it in no bucket", page_));
}

void OwnerSearch::begin() {
  txid_ = db_.meta_.txid;
  learning_.reset();
  branches_.clear();
  learned_ = 0;
  walk_.emplace(*db_.store_, db_.meta_);
}

// The pages of the allocation that begins at `first`, a branch or leaf page.
Result<uint64_t> OwnerSearch::pages_of(PageId first) const {
  ASSIGN_OR_RETURN(const PageView page, db_.store_->peek(first, db_.meta_.hwm));
  const uint64_t count = uint64_t{page.overflow()} + 1;
  const auto above = db_.page_map_->first_above(first);
  if (above && *above - first < count)
    return db_.store_->corruption(
        fmt::format("page {}: {} overflow pages reach into page {}", first, page.overflow(), *above));
  for (uint64_t i = 1; i < count; ++i)
    if (db_.freelist_->is_free(first + i) || db_.freelist_->is_pending(first + i))
      return db_.store_->corruption(fmt::format("page {}: reachable freed", first + i));
  return count;
}

// What map and freelist say alone: everything but kTree.
Result<std::optional<PageOwner>> OwnerSearch::without_tree() {
  const auto answer = [&](PageUse use, PageId first, uint64_t count) {
    PageOwner owner;
    owner.use = use;
    owner.first = first;
    owner.page_count = count;
    return std::optional(std::move(owner));
  };
  const Meta& meta = db_.meta_;
  if (page_ >= meta.hwm)
    return make_error(Code::kInvalidArgument, "page {}: out of bounds: {}", page_, meta.hwm);
  if (page_.v < 2) return answer(PageUse::kMeta, page_, 1);
  if (db_.freelist_->is_free(page_)) return answer(PageUse::kFree, page_, 1);
  if (db_.freelist_->is_pending(page_)) return answer(PageUse::kPending, page_, 1);
  if (meta.freelist != kNoFreelist && page_ >= meta.freelist && page_ - meta.freelist < db_.saved_list_pages_)
    return answer(PageUse::kFreelist, meta.freelist, db_.saved_list_pages_);
  if (db_.page_map_->known_first(page_)) return std::optional<PageOwner>();
  const auto below = db_.page_map_->first_below(page_);
  if (!below) return std::optional<PageOwner>();
  ASSIGN_OR_RETURN(const uint64_t count, pages_of(*below));
  if (page_ - *below < count) return answer(PageUse::kInside, *below, count);
  return std::optional<PageOwner>();
}

// Neighbouring pages tend to belong to one bucket.
Result<std::optional<PageOwner>> OwnerSearch::try_last_bucket() {
  if (!db_.page_map_->known_first(page_)) return std::optional<PageOwner>();
  const PageSource source{db_.store_.get(), db_.meta_.hwm};
  BucketWalk::Stop stop{db_.last_owner_,
                        BucketView(source, {db_.meta_.root, nullptr, nullptr}, db_.meta_.root_sequence)};
  for (const std::string& name : stop.names) {
    ASSIGN_OR_RETURN(const auto nested, stop.bucket.bucket(name));
    if (!nested || nested->is_inline()) return std::optional<PageOwner>();
    stop.bucket = *nested;
  }
  return try_bucket(stop);
}

// Down the bucket's tree with the page's first key.
Result<std::optional<PageOwner>> OwnerSearch::try_bucket(const BucketWalk::Stop& stop) {
  const Store& store = *db_.store_;
  const PageId hwm = db_.meta_.hwm;
  ASSIGN_OR_RETURN(const PageView page, store.peek(page_, hwm));
  PageOwner owner;
  owner.use = PageUse::kTree;
  owner.first = page_;
  if (page.count() > 0) owner.first_key = page.key(0);
  PageId at = stop.bucket.root();
  KeyRange range;
  for (size_t depth = 0; at != page_; ++depth) {
    if (depth == kDepthMax)
      return store.corruption(
          fmt::format("the tree below page {} is deeper than {} levels", stop.bucket.root(), kDepthMax));
    ASSIGN_OR_RETURN(const PageView branch, store.load(at, hwm, range));
    if (branch.leaf() || page.count() == 0) return std::optional<PageOwner>();
    owner.parent = at;
    const size_t i = branch.child_index(owner.first_key);
    owner.slot = static_cast<uint32_t>(i);
    range.from = branch.branch_key(i);
    if (i + 1 < branch.count()) range.to = branch.branch_key(i + 1);
    at = branch.child(i);
  }
  TRY(store.load(page_, hwm, range));
  ASSIGN_OR_RETURN(owner.page_count, pages_of(page_));
  owner.bucket = stop.names;
  db_.last_owner_ = stop.names;
  return std::optional(std::move(owner));
}

// ---- filling the map with a nested bucket's pages ----

Result<> OwnerSearch::learn_page(PageId id) {
  if (db_.freelist_->is_free(id) || db_.freelist_->is_pending(id))
    return db_.store_->corruption(fmt::format("page {}: reachable freed", id));
  if (++learned_ > db_.meta_.hwm.v)
    return db_.store_->corruption(fmt::format("page {}: multiple references", id));
  db_.page_map_->note_first(id);
  return {};
}

Result<> OwnerSearch::begin_learning(PageId root) {
  branches_.clear();
  size_t levels = 0;
  PageView top, page;
  for (PageId id = root;; ++levels) {
    if (levels == kDepthMax)
      return db_.store_->corruption(
          fmt::format("the tree below page {} is deeper than {} levels", root, kDepthMax));
    ASSIGN_OR_RETURN(page, db_.store_->peek(id, db_.meta_.hwm));
    if (levels == 0) top = page;
    if (page.leaf()) break;
    id = page.child(0);
  }
  TRY(learn_page(root));
  if (levels > 0) branches_.push_back({top, 0, levels});
  return {};
}

// Leaves are named by the branches above them, so they need not be read.
Result<> OwnerSearch::learn(uint64_t* pages_left) {
  while (!branches_.empty() && *pages_left > 0) {
    Branch& b = branches_.back();
    if (b.next == b.page.count()) {
      branches_.pop_back();
      continue;
    }
    const PageId child = b.page.child(b.next++);
    const size_t levels = b.levels_below - 1;
    TRY(learn_page(child));
    if (levels == 0) continue;
    --*pages_left;
    ASSIGN_OR_RETURN(const PageView page, db_.store_->peek(child, db_.meta_.hwm));
    if (page.leaf())
      return db_.store_->corruption(fmt::format("page {}: a leaf where its neighbours are branches", child));
    branches_.push_back({page, 0, levels});
  }
  return {};
}

}  // namespace quoin::bolt
