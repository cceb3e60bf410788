#include "base/utf8.h"

namespace quoin {

Utf8Char utf8_front(std::string_view s) {
  const auto c = static_cast<unsigned char>(s[0]);
  if (c < 0x80) return {1, c};
  const size_t n = c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
  if (n == 0 || n > s.size()) return {};
  uint32_t code = c & (0x7fU >> n);
  for (size_t i = 1; i < n; ++i) {
    const auto next = static_cast<unsigned char>(s[i]);
    if ((next & 0xc0) != 0x80) return {};
    code = code << 6 | (next & 0x3fU);
  }
  const bool overlong = (n == 3 && code < 0x800) || (n == 4 && code < 0x10000);
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  if (overlong || surrogate || code > 0x10ffff) return {};
  return {n, code};
}

bool valid_utf8(std::string_view s) {
  while (!s.empty()) {
    const Utf8Char c = utf8_front(s);
    if (c.length == 0) return false;
    s.remove_prefix(c.length);
  }
  return true;
}

}  // namespace quoin
