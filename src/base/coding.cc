#include "base/coding.h"

#include <fmt/core.h>

#include <charconv>

namespace quoin {
std::string hex(uint64_t v) {
  return fmt::format("{:x}", v);
}
std::string hex16(uint64_t v) {
  return fmt::format("{:016x}", v);
}

bool parse_hex(std::string_view text, uint64_t* v) {
  if (text.empty() || text.size() > 16) return false;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), *v, 16);
  return ec == std::errc() && end == text.data() + text.size();
}

std::string hex_bytes(std::string_view bytes) {
  std::string s;
  s.reserve(bytes.size() * 2);
  for (unsigned char c : bytes) s += fmt::format("{:02x}", c);
  return s;
}
}  // namespace quoin
