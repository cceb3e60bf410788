#include "bolt/snapshot_stream.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "bolt/store.h"

namespace quoin::bolt {

SnapshotStream::SnapshotStream(std::shared_ptr<const ReadTx> tx) : tx_(std::move(tx)) {
  Meta meta = tx_->meta();
  metas_.assign(size_t{2} * meta.page_size, '\0');
  meta.write(metas_.data(), 0);
  meta.txid = meta.txid - 1;
  meta.write(metas_.data() + meta.page_size, 1);
}

void SnapshotStream::read(uint64_t offset, std::span<char> out) const {
  CHECK(offset <= size_bytes() && out.size() <= size_bytes() - offset);
  if (offset < metas_.size()) {
    const size_t n = std::min<size_t>(out.size(), metas_.size() - offset);
    std::memcpy(out.data(), metas_.data() + offset, n);
    out = out.subspan(n);
    offset += n;
  }
  if (!out.empty()) tx_->store().read_raw(offset, out);
}

}  // namespace quoin::bolt
