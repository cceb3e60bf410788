// Where a bit of a member's data may flip: in its log, its newest snapshots, or the structure of its database.
//
// Threads: confined to one.
#pragma once
#include <cstdint>
#include <string>

#include "base/prng.h"
#include "sim/disk.h"

namespace quoin::scenarios {

struct FlipPlace {
  std::string path;
  uint64_t offset = 0;
};

// The disk of a member that does not run; it has a log and a database.
FlipPlace draw_flip(const sim::SimDisk& disk, Prng& prng);

}  // namespace quoin::scenarios
