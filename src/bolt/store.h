// The open file behind a Db and its ReadTxs: file, mapping, and the memory of which pages were found sound.
//
// Threads: load() and read_raw() on any thread; all else on the file thread. Pages that a reader can reach
// are never written while it can reach them, so the bytes need no lock; the marks are atomics because several
// readers may check the same page at once (they come to the same answer).
// Lifetime: shared by Db and ReadTxs; the last one closes the file, on whatever thread that is.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "bolt/format.h"
#include "io/file.h"

namespace quoin::bolt {

// No tree is deeper: a longer way down is a loop in a damaged file.
constexpr size_t kDepthMax = 64;

// Keys a child page may hold, as its parent has it: [from, to). No `from`: the top of a tree, which may be
// empty.
struct KeyRange {
  std::optional<std::string_view> from, to;
};

class Store {
 public:
  Store(std::unique_ptr<io::File> file, std::unique_ptr<io::Mapping> mapping, uint32_t page_size,
        uint64_t reserve_bytes);

  // The branch or leaf page `id`, checked if it is read for the first time. kCorruption.
  Result<PageView> load(PageId id, PageId hwm, const KeyRange& range = {}) const {
    if (id.v >= 2 && id < hwm && marked(id)) [[likely]]
      return PageView(page_data(id));
    return load_unchecked(id, hwm, range);
  }
  // The same for callers that do not come from the parent page and so do not know the range of keys. The page
  // is not remembered as sound, so that a caller that comes from the parent still compares the keys.
  Result<PageView> peek(PageId id, PageId hwm) const;
  // The caller has checked the page and its neighbours.
  void mark_sound(PageId id) const { mark(id); }
  // Bytes of the file as they are; zeros beyond its end.
  void read_raw(uint64_t offset, std::span<char> out) const;
  const char* page_data(PageId id) const { return base_ + id.v * page_size_; }
  // Readable bytes from the start of page `id`; 0 beyond the end of the mapping.
  uint64_t available(PageId id) const;

  // Makes room for marks of pages below `hwm`; before any reader may see them.
  void cover(PageId hwm);
  // The run was just written with sound content / with something that is no tree page.
  void mark_written(PageId first, uint64_t count, bool tree_page);

  // After the file's length changed.
  Result<> refresh();
  io::File& file() const { return *file_; }
  const std::string& path() const { return file_->path(); }
  uint32_t page_size() const { return page_size_; }
  // Address space of the mapping.
  uint64_t reserve_bytes() const { return reserve_bytes_; }
  Error corruption(std::string_view what) const {
    return make_error(Code::kCorruption, "{}: {}", path(), what);
  }

 private:
  static constexpr uint64_t kChunkPages = 1u << 15;
  struct Chunk {
    std::atomic<uint64_t> words[kChunkPages / 64]{};
  };
  std::atomic<uint64_t>& word(PageId id) const {
    return chunks_[id.v / kChunkPages]->words[id.v % kChunkPages / 64];
  }
  bool marked(PageId id) const { return word(id).load(std::memory_order_relaxed) >> (id.v % 64) & 1; }
  void mark(PageId id) const { word(id).fetch_or(uint64_t{1} << (id.v % 64), std::memory_order_relaxed); }
  void unmark(PageId id) const {
    word(id).fetch_and(~(uint64_t{1} << (id.v % 64)), std::memory_order_relaxed);
  }
  Result<PageView> load_unchecked(PageId id, PageId hwm, const KeyRange& range) const;

  const std::unique_ptr<io::File> file_;
  const std::unique_ptr<io::Mapping> mapping_;  // after file_: goes first
  const char* const base_;
  const uint32_t page_size_;
  const uint64_t reserve_bytes_;
  // What may be read; grows before readers may need it and never shrinks below what one can reach.
  std::atomic<uint64_t> mapped_bytes_;
  std::vector<std::unique_ptr<Chunk>> chunks_;  // sized for the whole reservation at once, so it never moves
};

}  // namespace quoin::bolt
