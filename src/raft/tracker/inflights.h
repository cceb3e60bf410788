// The appends that were sent to one follower and are not yet acknowledged: a sliding window, limited in
// messages and, softly, in payload bytes (the message that crosses the byte limit is still let through).
//
// Each message is remembered by the index of its last entry; indexes ascend.
// Source: spec raft-and-peers 8.1.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace quoin::raft::tracker {

class Inflights {
 public:
  // At most `messages_max` messages, `bytes_max` bytes (0: any number).
  Inflights(size_t messages_max, uint64_t bytes_max) : messages_max_(messages_max), bytes_max_(bytes_max) {}

  // Must not be full (CHECK).
  void add(Index last, uint64_t bytes);
  // The follower has acknowledged everything up to `to`.
  void free_to(Index to);
  void reset();

  size_t count() const { return count_; }
  bool full() const { return count_ == messages_max_ || (bytes_max_ != 0 && bytes_ >= bytes_max_); }

 private:
  struct Sent {
    Index last;
    uint64_t bytes = 0;
  };
  void grow();

  size_t messages_max_;
  uint64_t bytes_max_;
  uint64_t bytes_ = 0;
  // A ring that grows by doubling: a window of 512 would otherwise cost 8 KiB for each idle follower.
  std::vector<Sent> ring_;
  size_t first_ = 0;
  size_t count_ = 0;
};

}  // namespace quoin::raft::tracker
