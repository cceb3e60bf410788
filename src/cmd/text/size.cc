#include "cmd/text/size.h"

#include <fmt/format.h>

#include <cmath>

namespace quoin::cmd {

std::string si_size(uint64_t bytes) {
  if (bytes < 10) return fmt::format("{} B", bytes);
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  size_t unit = 0;
  double scale = 1;
  for (uint64_t rest = bytes; rest >= 1000; rest /= 1000, scale *= 1000) ++unit;
  const double value = std::floor(static_cast<double>(bytes) / scale * 10 + 0.5) / 10;
  return value < 10 ? fmt::format("{:.1f} {}", value, kUnits[unit])
                    : fmt::format("{:.0f} {}", value, kUnits[unit]);
}

}  // namespace quoin::cmd
