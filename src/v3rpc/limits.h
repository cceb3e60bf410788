// Bounds of the services. Tests and simulations make them small, so that they reach them.
#pragma once
#include <cstddef>
#include <cstdint>

namespace quoin::v3rpc {

struct Limits {
  // Events of one watch stream that its client has not taken. A large tail counts once in each stream
  // (held_bytes.h); what streams share is counted by each of them.
  size_t watch_queue_bytes = 16 << 20;
  // The same of a watch that a service keeps for one of its own calls (inner_watch.h).
  size_t inner_watch_queue_bytes = 1 << 20;
  // One step of a catch-up: half a millisecond of scanning. A response of a replay ends with its step.
  size_t catch_up_records = 2'000;
  // The file may grow by this while a snapshot of it is being sent; then the client has to read faster
  // (snapshot_stream.h).
  uint64_t snapshot_pinned_bytes = 1 << 30;
};

}  // namespace quoin::v3rpc
