#include "bolt/store.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace quoin::bolt {

Store::Store(std::unique_ptr<io::File> file, std::unique_ptr<io::Mapping> mapping, uint32_t page_size,
             uint64_t reserve_bytes)
    : file_(std::move(file)),
      mapping_(std::move(mapping)),
      base_(mapping_->data()),
      page_size_(page_size),
      reserve_bytes_(reserve_bytes),
      mapped_bytes_(mapping_->size()),
      chunks_(reserve_bytes / page_size / kChunkPages + 1) {}

uint64_t Store::available(PageId id) const {
  const uint64_t mapped = mapped_bytes_.load(std::memory_order_acquire);
  return id.v < mapped / page_size_ ? mapped - id.v * page_size_ : 0;
}

Result<PageView> Store::load_unchecked(PageId id, PageId hwm, const KeyRange& range) const {
  if (id.v < 2 || id >= hwm) return corruption(fmt::format("page {}: out of bounds: {}", id, hwm));
  const char* p = page_data(id);
  if (auto wrong = validate_page(p, id, page_size_, available(id), hwm)) return corruption(*wrong);
  const PageView page(p);
  if (range.from) {
    if (page.count() == 0) return corruption(fmt::format("page {}: leaf without items below a branch", id));
    if (page.key(0) < *range.from)
      return corruption(
          fmt::format("the first key[0]=(hex){} on {} page({}) needs to be >= the key in the ancestor ({})",
                      hex_bytes(page.key(0)), page.leaf() ? "leaf" : "branch", id, hex_bytes(*range.from)));
  }
  if (range.to && page.count() > 0 && page.key(page.count() - 1) >= *range.to)
    return corruption(fmt::format(
        "key[{}]=(hex){} on {} page({}) needs to be < than key of the next element in ancestor (hex){}",
        page.count() - 1, hex_bytes(page.key(page.count() - 1)), page.leaf() ? "leaf" : "branch", id,
        hex_bytes(*range.to)));
  mark(id);
  return page;
}

Result<PageView> Store::peek(PageId id, PageId hwm) const {
  if (id.v < 2 || id >= hwm) return corruption(fmt::format("page {}: out of bounds: {}", id, hwm));
  if (!marked(id))
    if (auto wrong = validate_page(page_data(id), id, page_size_, available(id), hwm))
      return corruption(*wrong);
  return PageView(page_data(id));
}

void Store::read_raw(uint64_t offset, std::span<char> out) const {
  const uint64_t mapped = mapped_bytes_.load(std::memory_order_acquire);
  const size_t n = offset < mapped ? std::min<uint64_t>(out.size(), mapped - offset) : 0;
  if (n > 0) std::memcpy(out.data(), base_ + offset, n);
  if (n < out.size()) std::memset(out.data() + n, 0, out.size() - n);
}

void Store::cover(PageId hwm) {
  for (uint64_t i = 0; i * kChunkPages < hwm.v; ++i)
    if (!chunks_[i]) chunks_[i] = std::make_unique<Chunk>();
}

void Store::mark_written(PageId first, uint64_t count, bool tree_page) {
  for (uint64_t i = 0; i < count; ++i) unmark(first + i);
  if (tree_page) mark(first);
}

Result<> Store::refresh() {
  TRY(mapping_->refresh());
  mapped_bytes_.store(mapping_->size(), std::memory_order_release);
  return {};
}

}  // namespace quoin::bolt
