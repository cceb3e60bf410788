#include "base/crc32c.h"

#include <isa-l/crc.h>

#include "base/check.h"

namespace quoin {
uint32_t crc32c(uint32_t crc, std::string_view bytes) {
  // ISA-L applies neither the initial nor the final inversion, takes an int length, and does not write
  // through its pointer although it is not const.
  uint32_t state = ~crc;
  while (!bytes.empty()) {
    std::string_view part = bytes.substr(0, 1u << 30);
    state = ::crc32_iscsi(reinterpret_cast<unsigned char*>(const_cast<char*>(part.data())),
                          static_cast<int>(part.size()), state);
    bytes.remove_prefix(part.size());
  }
  return ~state;
}
}  // namespace quoin
