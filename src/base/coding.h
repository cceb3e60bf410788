// Fixed-width integers and hex in byte strings.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace quoin {

static_assert(std::endian::native == std::endian::little, "bolt files and this code assume little endian");

template <class Int>
Int load_le(const void* p) {
  Int v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class Int>
void store_le(void* p, Int v) {
  std::memcpy(p, &v, sizeof v);
}
inline uint64_t load_be64(const void* p) {
  return __builtin_bswap64(load_le<uint64_t>(p));
}
inline void store_be64(void* p, uint64_t v) {
  store_le(p, __builtin_bswap64(v));
}
inline std::string be64(uint64_t v) {
  std::string s(8, '\0');
  store_be64(s.data(), v);
  return s;
}

// Lower-case hex without leading zeros ("%x"), as etcd writes member ids; "0" for 0.
std::string hex(uint64_t v);
// Lower-case hex, 16 digits ("%016x"), as in WAL and snapshot file names.
std::string hex16(uint64_t v);
// Parses "%x"/"%016x" text of 1 to 16 digits, both cases accepted; false if anything else is in it.
bool parse_hex(std::string_view text, uint64_t* v);
// Two digits a byte.
std::string hex_bytes(std::string_view bytes);

}  // namespace quoin
