#include "bolt/db.h"

#include "base/check.h"
#include "bolt/commit_plan.h"
#include "bolt/freelist.h"
#include "bolt/readers.h"
#include "bolt/store.h"

namespace quoin::bolt {

std::shared_ptr<const ReadTx> Db::begin_read() {
  return std::make_shared<const ReadTx>(store_, readers_, meta_);
}

Result<std::unique_ptr<WriteTx>> Db::begin_write() {
  CHECK(!*write_open_, "a write transaction is open");
  CHECK(!commit_running(), "a commit is running");
  CHECK(!closed_);
  if (dead_) return *dead_;
  if (options_.read_only) return make_error(Code::kUnsupported, "{}: database is in read-only mode", path());
  freelist_->release(readers_->txids());
  return std::unique_ptr<WriteTx>(new WriteTx(store_, meta_, write_open_));
}

std::vector<std::string> Db::check() {
  CHECK(!commit_running());
  if (options_.read_only) {
    // Nothing was loaded at open; a list in the file is looked at here.
    *freelist_ = Freelist();
    saved_list_pages_ = 0;
    if (meta_.freelist == kNoFreelist) return check_file(*begin_read(), nullptr);
    if (auto loaded = load_saved_freelist(); !loaded) return {std::string(loaded.error().text())};
  }
  const PageSet free = known_free();
  return check_file(*begin_read(), &free);
}

Stats Db::stats() const {
  Stats s;
  s.txid = meta_.txid;
  s.page_size = meta_.page_size;
  s.hwm_pages = meta_.hwm.v;
  s.free_pages = freelist_->free_count();
  s.pending_pages = freelist_->pending_count();
  s.open_readers = readers_->count();
  s.file_bytes = file_bytes_;
  s.reserved_bytes = store_->reserve_bytes();
  s.freelist_saved = meta_.freelist != kNoFreelist;
  return s;
}

const std::string& Db::path() const {
  return store_->path();
}
uint32_t Db::page_size() const {
  return meta_.page_size;
}

}  // namespace quoin::bolt
