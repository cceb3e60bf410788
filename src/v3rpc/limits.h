// Bounds of the services that a simulation makes small, so that it meets them.
#pragma once
#include <cstddef>

namespace quoin::v3rpc {

struct Limits {
  // Events of one watch stream that its client has not taken. A large tail counts once in each stream
  // (held_bytes.h); what streams share is counted by each of them.
  size_t watch_queue_bytes = 16 << 20;
  // One step of a catch-up: half a millisecond of scanning. A response of a replay ends with its step.
  size_t catch_up_records = 2'000;
};

}  // namespace quoin::v3rpc
