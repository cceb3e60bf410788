// Sizes in bytes as people read them.
#pragma once
#include <cstdint>
#include <string>

namespace quoin::cmd {

// SI units with one decimal below ten: "9 B", "25 kB", "2.1 GB". Source: dustin/go-humanize 1.0.1 (Bytes), whose rounding
// shows "1000 kB" just below a megabyte.
std::string si_size(uint64_t bytes);

}  // namespace quoin::cmd
