// File descriptors: how many this process may open, how many clients that leaves room for, and the warning
// when most are in use (spec operations 3.1, 5.5).
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/log.h"

namespace quoin::cmd {

struct DescriptorLimit {
  // Kept for files, peers and the process itself.
  static constexpr uint64_t kReserved = 150;
  uint64_t open_max = 0;
  // Of each client listener, as in etcd; 0 (no bound) if nothing is left: then the process does not start.
  size_t connections_max() const {
    return open_max > kReserved ? static_cast<size_t>(open_max - kReserved) : 0;
  }
};

// Opens /dev/null as each of the descriptors 0, 1 and 2 that is closed, as Go's runtime does: otherwise a
// socket or a file would get the number, and what is written to standard error with it. Before anything else
// is opened.
void open_standard_descriptors();
// The soft limit of this process.
DescriptorLimit descriptor_limit();
// Raises it to the hard one, as every Go program does at start.
void raise_descriptor_limit();
// Open now.
uint64_t count_descriptors();
// etcd's warning from four fifths on.
void warn_of_descriptors(uint64_t used, uint64_t limit, log::Logger& log);

}  // namespace quoin::cmd
