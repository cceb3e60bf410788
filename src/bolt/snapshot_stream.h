// The bytes of a backup: two fresh meta pages (txid T and T-1), then all pages of a ReadTx as they are in the
// file. Written to a file this is a database of its own.
//
// Threads: read() may be called on any thread, also from several at once.
// Lifetime: keeps the ReadTx, and with it all its pages and the file's length.
// Source: spec storage-formats 6.1.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "bolt/read_tx.h"

namespace quoin::bolt {

class SnapshotStream {
 public:
  explicit SnapshotStream(std::shared_ptr<const ReadTx> tx);
  uint64_t size_bytes() const { return tx_->size_bytes(); }
  // Fills `out` with the stream's bytes from `offset`; offset + out.size() <= size_bytes() (CHECK).
  void read(uint64_t offset, std::span<char> out) const;
  const ReadTx& tx() const { return *tx_; }

 private:
  std::shared_ptr<const ReadTx> tx_;
  std::string metas_;  // two pages
};

}  // namespace quoin::bolt
