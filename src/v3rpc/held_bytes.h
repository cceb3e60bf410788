// Bytes that a watch stream's queue keeps alive: what each message has for itself, and each large tail once,
// however many messages of the queue share it.
//
// A hundred watchers of one stream that are sent the same megabyte cost a megabyte, so they fill no queue;
// small tails are copied into the connection's output and count for each message. Threads: none of its own;
// the owner locks.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <cstddef>
#include <cstdint>

#include "base/blob.h"
#include "base/check.h"

namespace quoin::v3rpc {

class HeldBytes {
 public:
  static constexpr size_t kMessageBytes = 64;  // a message without its tail
  static constexpr size_t kSharedMin = 4096;   // tails from here on are shared on their way out, too

  static bool counted_once(const Blob& tail) { return tail.size() >= kSharedMin; }

  // What add() would add.
  size_t cost(const Blob& tail) const {
    const bool there = counted_once(tail) && shared_.contains(tail.view().data());
    return kMessageBytes + (there ? 0 : tail.size());
  }
  void add(const Blob& tail) {
    bytes_ += cost(tail);
    if (counted_once(tail)) ++shared_[tail.view().data()];
  }
  void remove(const Blob& tail) {
    bytes_ -= kMessageBytes;
    if (counted_once(tail)) {
      const auto it = shared_.find(tail.view().data());
      CHECK(it != shared_.end());
      if (--it->second > 0) return;
      shared_.erase(it);
    }
    bytes_ -= tail.size();
  }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_ = 0;
  // Messages by their tail's first byte: the queue keeps the tails alive, so no two of them share it.
  absl::flat_hash_map<const char*, uint32_t> shared_;
};

}  // namespace quoin::v3rpc
