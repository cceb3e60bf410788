// CRC-32C (Castagnoli), chainable: crc32c(crc32c(0, a), b) == crc32c(0, a + b). Check value of
// "123456789" is 0xe3069283. Same chaining as Go's crc32.Update.
#pragma once
#include <cstdint>
#include <string_view>

namespace quoin {
uint32_t crc32c(uint32_t crc, std::string_view bytes);
}  // namespace quoin
