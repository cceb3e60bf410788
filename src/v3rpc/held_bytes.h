// Counts the bytes that a watch stream's queue keeps alive: the own part of each message, and each large tail
// once, however many messages of the queue share it.
//
// A hundred watchers of one stream that are sent the same megabyte cost a megabyte, so they fill no queue;
// small tails are copied into the connection's output and count for each message. A tail and a fragment cut
// from its beginning count as one, of the longer one's size, until the last of them is gone: the fragment
// keeps all of it alive.
//
// Threads: none of its own; the owner locks.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <cstddef>

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
    if (!counted_once(tail)) return kMessageBytes + tail.size();
    const auto it = shared_.find(tail.view().data());
    const size_t counted = it == shared_.end() ? 0 : it->second.bytes;
    return kMessageBytes + (tail.size() > counted ? tail.size() - counted : 0);
  }
  void add(const Blob& tail) {
    bytes_ += cost(tail);
    if (!counted_once(tail)) return;
    Shared& s = shared_[tail.view().data()];
    ++s.messages;
    s.bytes = std::max(s.bytes, tail.size());
  }
  void remove(const Blob& tail) {
    bytes_ -= kMessageBytes;
    if (!counted_once(tail)) {
      bytes_ -= tail.size();
      return;
    }
    const auto it = shared_.find(tail.view().data());
    CHECK(it != shared_.end());
    if (--it->second.messages > 0) return;
    bytes_ -= it->second.bytes;
    shared_.erase(it);
  }
  size_t bytes() const { return bytes_; }

 private:
  struct Shared {
    size_t messages = 0;
    size_t bytes = 0;  // of the longest tail
  };
  size_t bytes_ = 0;
  // By the tail's first byte: the queue keeps the tails alive, so only slices of one of them share it.
  absl::flat_hash_map<const char*, Shared> shared_;
};

}  // namespace quoin::v3rpc
