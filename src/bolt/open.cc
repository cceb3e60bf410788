// Opening: creation of a new file, page size, metas, and the freelist (loaded, or rebuilt by a walk).
#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "bolt/commit_plan.h"
#include "bolt/db.h"
#include "bolt/freelist.h"
#include "bolt/page_map.h"
#include "bolt/readers.h"
#include "bolt/store.h"

namespace quoin::bolt {
namespace {

constexpr size_t kMetaReadBytes = 4096;  // what Go reads to look for a meta
constexpr uint64_t kSectorBytes = 512;   // io's granularity of torn writes
constexpr uint64_t kNewFilePages = 4;
constexpr uint64_t kReserveBytesMin = 256u << 20;

Error damaged(const io::File& file, std::string_view what) {
  return make_error(Code::kCorruption, "{}: {}", file.path(), what);
}

bool plausible_page_size(uint32_t n) {
  return std::has_single_bit(n) && n >= kPageSizeMin && n <= kPageSizeMax;
}

// Two metas, an empty freelist, an empty root leaf.
std::string new_file_image(uint32_t page_size) {
  std::string image(kNewFilePages * page_size, '\0');
  Meta meta;
  meta.page_size = page_size;
  meta.root = PageId(3);
  meta.freelist = PageId(2);
  meta.hwm = PageId(kNewFilePages);
  for (uint64_t slot = 0; slot < 2; ++slot) {
    meta.txid = TxId(slot);
    meta.write(image.data() + slot * page_size, slot);
  }
  PageHeader{PageId(2), kFlagFreelist, 0, 0}.write(image.data() + 2 * page_size);
  PageHeader{PageId(3), kFlagLeaf, 0, 0}.write(image.data() + 3 * page_size);
  return image;
}

Result<> create_file(io::File& file, uint32_t page_size) {
  TRY(file.write_at(0, new_file_image(page_size)));
  return file.sync();
}

// Whether a crash during create_file left this: each sector as it should be, or still zero, and not all
// there.
Result<bool> creation_was_cut_short(io::File& file, uint64_t size, uint32_t page_size) {
  if (!plausible_page_size(page_size)) return false;
  const std::string image = new_file_image(page_size);
  if (size > image.size()) return false;
  std::string bytes(size, '\0');
  ASSIGN_OR_RETURN(const size_t n, file.read_at(0, bytes));
  if (n != size || bytes == image) return false;
  for (uint64_t at = 0; at < size; at += kSectorBytes) {
    const auto sector = std::string_view(bytes).substr(at, kSectorBytes);
    if (sector != std::string_view(image).substr(at, sector.size()) &&
        sector.find_first_not_of('\0') != std::string_view::npos)
      return false;
  }
  return true;
}

// From meta 0, or from meta 1 searched where it is for each page size. Empty if neither is found.
Result<std::optional<uint32_t>> find_page_size(io::File& file, uint64_t size) {
  std::string_view why;
  std::string bytes(kMetaReadBytes, '\0');
  ASSIGN_OR_RETURN(size_t n, file.read_at(0, bytes));
  if (n == kMetaReadBytes)
    if (const auto meta = Meta::read_mended(bytes.data(), &why)) return std::optional(meta->page_size);
  for (int i = 0; i < 15; ++i) {
    const uint64_t at = uint64_t{1024} << i;
    if (at + 1024 >= size) break;
    ASSIGN_OR_RETURN(n, file.read_at(at, bytes));
    if (n < kPageHeaderBytes + kMetaBytes) break;
    if (const auto meta = Meta::read_mended(bytes.data(), &why)) return std::optional(meta->page_size);
  }
  return std::optional<uint32_t>();
}

struct Reservation {
  std::unique_ptr<io::Mapping> mapping;
  uint64_t bytes = 0;
};

// As much address space as is asked for, or what there is (ulimit -v, sanitizers, systems with little): half
// as much each time it is refused, down to twice the file's length and kReserveBytesMin; a file that is only
// read needs its length. Where less had to do, half of what could be had is left to the rest of the process.
Result<Reservation> reserve(io::File& file, uint64_t file_bytes, const Options& options) {
  const uint64_t asked = options.reserve_bytes;
  const uint64_t useful = options.read_only ? file_bytes : std::max(kReserveBytesMin, 2 * file_bytes);
  const uint64_t least = std::min(asked, useful);
  uint64_t bytes = asked;
  auto mapping = file.map(bytes, options.prefault);
  while (!mapping && bytes > least) {
    bytes = std::max(bytes / 2, least);
    mapping = file.map(bytes, options.prefault);
  }
  if (!mapping) return std::move(mapping).error();
  if (bytes < asked && bytes > least) {
    bytes = std::max(bytes / 2, least);
    mapping->reset();
    ASSIGN_OR_RETURN(*mapping, file.map(bytes, options.prefault));
  }
  return Reservation{*std::move(mapping), bytes};
}

}  // namespace

Db::Db(std::shared_ptr<Store> store, const Options& options, const Meta& meta)
    : options_(options),
      store_(std::move(store)),
      readers_(std::make_shared<ReaderTable>()),
      freelist_(std::make_unique<Freelist>()),
      page_map_(std::make_unique<PageMap>()),
      meta_(meta),
      write_open_(std::make_shared<bool>(false)) {}

Result<std::unique_ptr<Db>> Db::open(io::FileSystem& fs, const std::string& path, const Options& options) {
  CHECK(plausible_page_size(options.page_size), "page size {}", options.page_size);
  CHECK_GT(options.growth_bytes, 0u);
  const bool write = !options.read_only;
  ASSIGN_OR_RETURN(auto file, fs.open(path, {.write = write, .create = write && options.create}));
  TRY(file->lock(write ? io::LockMode::kExclusive : io::LockMode::kShared));
  ASSIGN_OR_RETURN(uint64_t size, file->size());
  if (size == 0) {
    if (!write) return damaged(*file, "invalid database");
    TRY(create_file(*file, options.page_size));
  }
  ASSIGN_OR_RETURN(size, file->size());
  ASSIGN_OR_RETURN(auto found, find_page_size(*file, size));
  if (write) {
    const uint32_t new_page_size = found.value_or(options.page_size);
    ASSIGN_OR_RETURN(const bool unfinished, creation_was_cut_short(*file, size, new_page_size));
    if (unfinished) {
      TRY(create_file(*file, new_page_size));
      ASSIGN_OR_RETURN(size, file->size());
      found = new_page_size;
    }
  }
  const uint32_t page_size = found.value_or(options.page_size);
  if (!plausible_page_size(page_size)) return damaged(*file, fmt::format("page 0: page size {}", page_size));
  if (size < 2 * uint64_t{page_size}) return damaged(*file, fmt::format("file size too small {}", size));
  if (size > options.reserve_bytes)
    return make_error(Code::kLimit, "{}: {} bytes, but only {} reserved", path, size, options.reserve_bytes);
  ASSIGN_OR_RETURN(Reservation reserved, reserve(*file, size, options));
  auto store =
      std::make_shared<Store>(std::move(file), std::move(reserved.mapping), page_size, reserved.bytes);

  std::optional<Meta> metas[2];
  std::string_view why[2];
  for (int slot = 0; slot < 2; ++slot) {
    metas[slot] = Meta::read_mended(store->page_data(PageId(slot)), &why[slot]);
    if (metas[slot] && metas[slot]->page_size != page_size)
      metas[slot].reset(), why[slot] = "another page size";
  }
  if (!metas[0] && !metas[1]) return store->corruption(fmt::format("page 0: {}", why[0]));
  const bool second = metas[1] && (!metas[0] || metas[1]->txid > metas[0]->txid);
  std::unique_ptr<Db> db(new Db(std::move(store), options, *metas[second ? 1 : 0]));
  for (int slot = 0; slot < 2; ++slot)
    if (metas[slot]) db->slot_hwm_[slot] = metas[slot]->hwm;
  db->file_bytes_ = size;
  TRY(db->load(second ? 1 : 0));
  return db;
}

// What the chosen meta names: root in bounds, freelist.
Result<> Db::load(uint64_t slot) {
  const auto in_file = [&](PageId id) { return id.v >= 2 && id < meta_.hwm; };
  if (meta_.hwm.v > store_->reserve_bytes() / meta_.page_size)
    return store_->corruption(fmt::format(
        "meta of transaction {}: high-water mark {} beyond what is reserved", meta_.txid, meta_.hwm));
  if (!in_file(meta_.root))
    return store_->corruption(fmt::format("meta of transaction {}: root page {} out of bounds: {}",
                                          meta_.txid, meta_.root, meta_.hwm));
  if (meta_.freelist != kNoFreelist && !in_file(meta_.freelist))
    return store_->corruption(fmt::format("meta of transaction {}: freelist page {} out of bounds: {}",
                                          meta_.txid, meta_.freelist, meta_.hwm));
  store_->cover(meta_.hwm);
  if (options_.read_only) return {};
  const bool have_list = meta_.freelist != kNoFreelist;
  const uint64_t needed = meta_.hwm.v * meta_.page_size;
  if (have_list) TRY(load_saved_freelist());
  // A file shorter than its meta says may have lost anything: only the walk tells.
  if (!have_list || options_.check_all || file_bytes_ < needed) {
    TRY(walk_for_free_pages(have_list));
  } else {
    TRY(walk_branches());
  }
  if (file_bytes_ < needed) {
    TRY(store_->file().allocate(needed));
    file_bytes_ = needed;
    TRY(store_->refresh());
  }
  return options_.no_sync ? Result<>() : make_durable(slot);
}

// The newest meta may be in the system's cache only: the process before was killed, or its sync failed. Once
// we write, the pages of the meta before it are fair game, so the newest one has to be durable first. After a
// failed sync the system takes what it could not write for written, and a sync alone would do nothing; hence
// the bytes are written once more. Only the meta is in doubt: it is written when the sync of all pages below
// it has succeeded. A new file's four pages share one sync, and are written again until a commit has replaced
// them.
Result<> Db::make_durable(uint64_t slot) {
  const uint64_t first = meta_.txid.v <= 1 ? 0 : slot;
  const uint64_t pages = meta_.txid.v <= 1 ? std::min(meta_.hwm.v, kNewFilePages) : 1;
  std::string bytes(pages * meta_.page_size, '\0');
  store_->read_raw(first * meta_.page_size, bytes);
  meta_.write(bytes.data() + (slot - first) * meta_.page_size,
              slot);  // as it was, where a bit of it had flipped
  TRY(store_->file().write_at(first * meta_.page_size, bytes));
  return store_->file().sync();
}

Result<> Db::load_saved_freelist() {
  const PageId first = meta_.freelist;
  const char* p = store_->page_data(first);
  const uint64_t available = store_->available(first);
  if (available < meta_.page_size)
    return store_->corruption(fmt::format("page {}: the file ends before it", first));
  const PageHeader h = PageHeader::read(p);
  if (h.id != first)
    return store_->corruption(fmt::format("Page expected to be: {}, but self identifies as {}", first, h.id));
  if (h.flags != kFlagFreelist)
    return store_->corruption(
        fmt::format("invalid freelist page: {}, page type is {}", first, page_type(h.flags)));
  saved_list_pages_ = uint64_t{h.overflow} + 1;
  const uint64_t bytes = saved_list_pages_ * meta_.page_size;
  if (saved_list_pages_ > meta_.hwm - first || bytes > available)
    return store_->corruption(
        fmt::format("page {}: {} overflow pages go out of bounds: {}", first, h.overflow, meta_.hwm));
  const uint64_t slots = (bytes - kPageHeaderBytes) / 8;
  const bool long_form = h.count == 0xFFFF;
  const uint64_t count = long_form ? load_le<uint64_t>(p + kPageHeaderBytes) : h.count;
  if (count > slots - (long_form ? 1 : 0))
    return store_->corruption(
        fmt::format("page {}: freelist of {} pages does not fit into {} bytes", first, count, bytes));
  const char* ids = p + kPageHeaderBytes + (long_form ? 8 : 0);
  PageId previous;
  for (uint64_t i = 0; i < count; ++i) {
    const PageId id(load_le<uint64_t>(ids + 8 * i));
    if (id.v < 2 || id >= meta_.hwm)
      return store_->corruption(
          fmt::format("page {}: freelist entry {}: page {} out of bounds: {}", first, i, id, meta_.hwm));
    if (id == previous) return store_->corruption(fmt::format("page {}: already freed", id));
    if (id < previous)
      return store_->corruption(
          fmt::format("page {}: freelist entry {}: page {} after page {}", first, i, id, previous));
    if (id >= first && id < first + saved_list_pages_)
      return store_->corruption(
          fmt::format("page {}: freelist entry {}: page {} holds the list itself", first, i, id));
    previous = id;
    freelist_->add_free(id);
  }
  return {};
}

PageSet Db::known_free() const {
  PageSet free(meta_.hwm.v);
  for (PageId id : freelist_->all())
    if (id < meta_.hwm) free[id.v] = true;
  if (meta_.freelist != kNoFreelist)
    for (uint64_t i = 0; i < saved_list_pages_; ++i) free[meta_.freelist.v + i] = true;
  return free;
}

// Beside a saved list: no page of the top-level buckets is named twice or listed as free. Reads branch pages
// only, about one page in a hundred; a page that is sound by itself but stands in two places would give wrong
// answers.
Result<> Db::walk_branches() {
  const auto tx = begin_read();
  PageSet seen = known_free();
  const auto visit_tree = [&](PageId root) -> Result<> {
    size_t levels = 0;
    for (PageId id = root;; ++levels) {
      if (levels == kDepthMax)
        return store_->corruption(
            fmt::format("the tree below page {} is deeper than {} levels", root, kDepthMax));
      ASSIGN_OR_RETURN(const PageView page, store_->peek(id, meta_.hwm));
      if (page.leaf()) break;
      id = page.child(0);
    }
    return visit_branches(root, levels, {}, &seen);
  };
  TRY(visit_tree(meta_.root));
  Cursor cursor = tx->root().cursor();
  ASSIGN_OR_RETURN(bool more, cursor.first());
  while (more) {
    if (cursor.is_bucket()) {
      const PageId root = BucketHeader::read(cursor.value()).root;
      if (root != PageId()) TRY(visit_tree(root));
    }
    ASSIGN_OR_RETURN(more, cursor.next());
  }
  return {};
}

Result<> Db::visit_branches(PageId id, size_t levels_below, KeyRange range, PageSet* seen) {
  if ((*seen)[id.v])
    return store_->corruption(fmt::format("page {}: multiple references, or reachable freed", id));
  (*seen)[id.v] = true;
  page_map_->note_first(id);
  if (levels_below == 0) return {};
  ASSIGN_OR_RETURN(const PageView page, store_->load(id, meta_.hwm, range));
  if (page.leaf())
    return store_->corruption(fmt::format("page {}: a leaf where its neighbours are branches", id));
  const auto to = range.to;
  for (size_t i = 0; i < page.count(); ++i) {
    range.from = page.branch_key(i);
    range.to = i + 1 < page.count() ? std::optional(page.branch_key(i + 1)) : to;
    TRY(visit_branches(page.child(i), levels_below - 1, range, seen));
  }
  return {};
}

// As Go at each open without a list: what no page of the tree covers is free.
Result<> Db::walk_for_free_pages(bool have_list) {
  const auto tx = begin_read();
  const PageSet listed = known_free();
  PageSet reachable;
  std::optional<std::string> finding;
  const auto sink = [&](std::string text) {
    finding = std::move(text);
    return false;
  };
  check_reachable(*tx, have_list ? &listed : nullptr, &reachable, sink, page_map_.get());
  if (finding)
    return store_->corruption(fmt::format("freepages: failed to get all reachable pages ({})", *finding));
  for (PageId id(2); id < meta_.hwm; ++id) {
    if (reachable[id.v]) continue;
    if (!have_list)
      freelist_->add_free(id);
    else if (!listed[id.v])
      return store_->corruption(fmt::format("page {}: unreachable unfreed", id));
  }
  return {};
}

}  // namespace quoin::bolt
