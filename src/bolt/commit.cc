// A commit: build the pages, then grow, write, sync, write the meta, sync, and perhaps cut. Source: spec
// storage-formats 1.6.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "bolt/commit_plan.h"
#include "bolt/db.h"
#include "bolt/freelist.h"
#include "bolt/page_map.h"
#include "bolt/readers.h"
#include "bolt/spill.h"
#include "bolt/store.h"

namespace quoin::bolt {
namespace {

// A list of all free and pending pages, as it is at the next open.
void encode_freelist(const std::vector<PageId>& ids, const PageWrite& w, uint32_t page_size) {
  const bool long_form = ids.size() >= 0xFFFF;
  CHECK_LE(kPageHeaderBytes + 8 * (ids.size() + long_form), w.count * page_size);
  std::memset(w.bytes, 0, w.count * page_size);
  PageHeader{w.first, kFlagFreelist, static_cast<uint16_t>(long_form ? 0xFFFF : ids.size()),
             static_cast<uint32_t>(w.count - 1)}
      .write(w.bytes);
  char* p = w.bytes + kPageHeaderBytes;
  if (long_form) {
    store_le<uint64_t>(p, ids.size());
    p += 8;
  }
  for (PageId id : ids) {
    store_le<uint64_t>(p, id.v);
    p += 8;
  }
}

uint64_t round_up(uint64_t n, uint64_t step) {
  return (n + step - 1) / step * step;
}

}  // namespace

// Kept by the completions of its operations, so the bytes stay as long as the file may read them.
struct Db::Commit {
  // In this order, whether the commit blocks or not; a stage that has nothing to do is passed over.
  enum class Stage { kStart, kGrow, kWritePages, kSyncPages, kWriteMeta, kSyncMeta, kPublish, kCut, kEnd };
  Db* db;  // null when the Db was destroyed meanwhile
  std::unique_ptr<CommitPlan> plan;
  io::Completion done;
  Stage stage = Stage::kStart;
  size_t writes_left = 0;
  Result<> write_result;
  uint64_t cut_to = 0;
};

Db::~Db() {
  if (commit_) commit_->db = nullptr;
}

// ---- building ----

Result<> Db::free_pages_of(const WriteTx& tx, CommitPlan* plan) {
  const auto free_run = [&](PageId first, uint64_t count) -> Result<> {
    if (first.v < 2 || first >= meta_.hwm || count > meta_.hwm - first)
      return store_->corruption(fmt::format("page {}: out of bounds: {}", first, meta_.hwm));
    // A page's count of overflow pages is not checked by what is in it, and no leaf is read by an open that
    // has a saved list. Pages of others must not be given back with it.
    const auto above = page_map_->first_above(first);
    if (above && *above - first < count)
      return store_->corruption(fmt::format("page {}: reaches into page {}", first, *above));
    if (!freelist_->free_run(first, count, tx.txid()))
      return store_->corruption(fmt::format("page {}: already freed", first));
    plan->freed.push_back({first, count});
    return {};
  };
  for (const PageRun& run : tx.freed_) TRY(free_run(run.first, run.count));
  if (meta_.freelist != kNoFreelist) TRY(free_run(meta_.freelist, saved_list_pages_));
  return {};
}

Result<uint64_t> Db::growth_for(PageId hwm) const {
  const uint64_t page_size = meta_.page_size;
  const uint64_t reserved = store_->reserve_bytes();
  if (hwm.v > reserved / page_size)
    return make_error(Code::kLimit,
                      "{}: needs {} bytes, but only {} bytes of address space are reserved for it", path(),
                      hwm.v * page_size, reserved);
  const uint64_t target = (hwm.v + 1) * page_size;
  if (target <= file_bytes_) return uint64_t{0};
  return std::min(round_up(target, options_.growth_bytes), std::max(reserved, hwm.v * page_size));
}

Result<std::unique_ptr<CommitPlan>> Db::build(WriteTx& tx, bool save_freelist) {
  auto plan = std::make_unique<CommitPlan>();
  plan->meta = meta_;
  plan->meta.txid = tx.txid();
  plan->meta.freelist = kNoFreelist;
  Spiller spiller(tx, *freelist_, readers_->count() > 0, plan.get());
  TRY(spiller.run());
  TRY(free_pages_of(tx, plan.get()));
  if (save_freelist) {
    // Sized for all ids there are now; taking the list's own pages only makes them fewer.
    const uint64_t ids = freelist_->free_count() + freelist_->pending_count();
    PageWrite& w = spiller.allocate((kPageHeaderBytes + 8 * (ids + 1)) / meta_.page_size + 1);
    w.tree_page = false;
    if (options_.lower_hwm) plan->meta.hwm = freelist_->trim(plan->meta.hwm);
    encode_freelist(freelist_->all(), w, meta_.page_size);
    plan->meta.freelist = w.first;
    plan->saved_list_pages = w.count;
  } else if (options_.lower_hwm) {
    plan->meta.hwm = freelist_->trim(plan->meta.hwm);
  }
  ASSIGN_OR_RETURN(plan->grow_to, growth_for(plan->meta.hwm));
  store_->cover(plan->meta.hwm);
  std::sort(plan->pages.begin(), plan->pages.end(),
            [](const PageWrite& a, const PageWrite& b) { return a.first < b.first; });
  plan->meta_page.assign(meta_.page_size, '\0');
  plan->meta.write(plan->meta_page.data(), plan->meta_slot());
  return plan;
}

// ---- asynchronous ----

void Db::commit(std::unique_ptr<WriteTx> tx, io::Completion done) {
  CHECK(!commit_running() && !closed_);
  CHECK(tx && tx->open_ == write_open_, "a transaction of another database");
  if (!dead_) {
    auto plan = build(*tx, false);
    tx.reset();
    if (plan) return submit(std::move(*plan), std::move(done));
    dead_ = std::move(plan).error();  // the freelist has been touched already
  }
  done(*dead_);
}

void Db::submit(std::unique_ptr<CommitPlan> plan, io::Completion done) {
  commit_ = std::make_shared<Commit>();
  commit_->db = this;
  commit_->plan = std::move(plan);
  commit_->done = std::move(done);
  advance(commit_, {});
}

// Ends the stage that `c` is in and enters the next one that has operations on the file to do, or kEnd.
Result<> Db::go_on(Commit& c) {
  using Stage = Commit::Stage;
  const CommitPlan& plan = *c.plan;
  if (c.stage == Stage::kGrow || c.stage == Stage::kCut) {
    file_bytes_ = c.stage == Stage::kGrow ? plan.grow_to : c.cut_to;
    TRY(store_->refresh());
  }
  for (;;) {
    c.stage = static_cast<Stage>(static_cast<int>(c.stage) + 1);
    switch (c.stage) {
      case Stage::kGrow:
        if (plan.grow_to > 0) return {};
        break;
      case Stage::kWritePages:
        if (!plan.pages.empty()) return {};
        break;
      case Stage::kSyncPages:
      case Stage::kSyncMeta:
        if (!options_.no_sync) return {};
        break;
      case Stage::kPublish:
        publish(plan);
        c.cut_to = cut_to();
        break;
      case Stage::kCut:
        if (c.cut_to > 0) return {};
        break;
      case Stage::kStart:
      case Stage::kWriteMeta:
      case Stage::kEnd:
        return {};
    }
  }
}

void Db::advance(const std::shared_ptr<Commit>& c, Result<> result) {
  Db* const db = c->db;
  if (!db) return;
  if (result) result = db->go_on(*c);
  if (!result || c->stage == Commit::Stage::kEnd) return db->end_commit(c, std::move(result));
  io::File& file = db->store_->file();
  const auto next = [c](Result<> r) { advance(c, std::move(r)); };
  using Stage = Commit::Stage;
  switch (c->stage) {
    case Stage::kGrow:
      return file.async_allocate(c->plan->grow_to, next);
    case Stage::kWritePages:
      return db->write_pages(c);
    case Stage::kSyncPages:
    case Stage::kSyncMeta:
      return file.async_sync(next);
    case Stage::kWriteMeta:
      return file.async_write(c->plan->meta_slot() * db->meta_.page_size, {c->plan->meta_page}, next);
    case Stage::kCut:
      return file.async_truncate(c->cut_to, next);
    case Stage::kStart:
    case Stage::kPublish:
    case Stage::kEnd:
      break;
  }
  CHECK(false, "a stage without an operation");
}

void Db::write_pages(const std::shared_ptr<Commit>& c) {
  std::vector<WriteRun> runs = write_runs(*c->plan, meta_.page_size);
  c->writes_left = runs.size();
  for (WriteRun& run : runs) {
    store_->file().async_write(run.offset, std::move(run.parts), [c](Result<> r) {
      if (!r && c->write_result) c->write_result = std::move(r);
      if (--c->writes_left == 0) advance(c, std::move(c->write_result));
    });
  }
}

void Db::end_commit(const std::shared_ptr<Commit>& c, Result<> result) {
  if (!result) dead_ = result.error();
  io::Completion done = std::move(c->done);
  commit_.reset();
  done(std::move(result));
}

void Db::publish(const CommitPlan& plan) {
  for (const PageRun& run : plan.freed) page_map_->freed(run.first, run.count);
  for (const PageWrite& w : plan.pages) {
    store_->mark_written(w.first, w.count, w.tree_page);
    if (w.tree_page) page_map_->note_first(w.first);
  }
  page_map_->cut(plan.meta.hwm);
  meta_ = plan.meta;
  slot_hwm_[plan.meta_slot()] = plan.meta.hwm;
  saved_list_pages_ = plan.saved_list_pages;
}

uint64_t Db::cut_to() const {
  if (options_.cut_slack_bytes == 0) return 0;
  const PageId needed = std::max({slot_hwm_[0], slot_hwm_[1], readers_->hwm_max()});
  const uint64_t keep = round_up((needed.v + 1) * meta_.page_size, options_.growth_bytes);
  if (file_bytes_ < keep + options_.cut_slack_bytes) return 0;
  return std::max(keep, file_bytes_ - std::min(file_bytes_, options_.cut_bytes_max));
}

void Db::close(bool save_freelist, io::Completion done) {
  CHECK(!commit_running() && !closed_);
  const bool save = save_freelist && !dead_ && !options_.read_only && meta_.freelist == kNoFreelist &&
                    readers_->count() == 0;
  if (!save) {
    closed_ = true;
    return done(dead_ ? Result<>(*dead_) : Result<>());
  }
  auto tx = begin_write();
  CHECK(tx.has_value());
  auto plan = build(**tx, true);
  closed_ = true;
  if (!plan) return done(std::move(plan).error());
  submit(std::move(*plan), std::move(done));
}

// ---- blocking ----

Result<> Db::commit_blocking(std::unique_ptr<WriteTx> tx) {
  CHECK(!commit_running() && !closed_);
  CHECK(tx && tx->open_ == write_open_, "a transaction of another database");
  if (dead_) return *dead_;
  auto plan = build(*tx, false);
  tx.reset();
  Result<> result = plan ? run_blocking(std::move(*plan)) : Result<>(std::move(plan).error());
  if (!result) dead_ = result.error();
  return result;
}

Result<> Db::run_blocking(std::unique_ptr<CommitPlan> plan) {
  io::File& file = store_->file();
  Commit c{.db = this, .plan = std::move(plan)};
  using Stage = Commit::Stage;
  for (;;) {
    TRY(go_on(c));
    switch (c.stage) {
      case Stage::kGrow:
        TRY(file.allocate(c.plan->grow_to));
        break;
      case Stage::kWritePages:
        for (const PageWrite& w : c.plan->pages)
          TRY(file.write_at(w.first.v * meta_.page_size, {w.bytes, w.count * meta_.page_size}));
        break;
      case Stage::kSyncPages:
      case Stage::kSyncMeta:
        TRY(file.sync());
        break;
      case Stage::kWriteMeta:
        TRY(file.write_at(c.plan->meta_slot() * meta_.page_size, c.plan->meta_page));
        break;
      case Stage::kCut:
        TRY(file.truncate(c.cut_to));
        break;
      case Stage::kStart:
      case Stage::kPublish:
      case Stage::kEnd:
        return {};
    }
  }
}

Result<> Db::close_blocking(bool save_freelist) {
  CHECK(!commit_running() && !closed_);
  const bool save = save_freelist && !dead_ && !options_.read_only && meta_.freelist == kNoFreelist &&
                    readers_->count() == 0;
  if (save) {
    ASSIGN_OR_RETURN(auto tx, begin_write());
    auto plan = build(*tx, true);
    tx.reset();
    Result<> result = plan ? run_blocking(std::move(*plan)) : Result<>(std::move(plan).error());
    if (!result) dead_ = result.error();
  }
  closed_ = true;
  return dead_ ? Result<>(*dead_) : Result<>();
}

}  // namespace quoin::bolt
