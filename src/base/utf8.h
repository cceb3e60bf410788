// UTF-8 as Unicode defines it: no overlong forms, no surrogates, nothing beyond U+10FFFF. What Go's
// unicode/utf8 takes for a character is exactly what this does, and several texts of etcd depend on it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quoin {

struct Utf8Char {
  size_t length = 0;  // bytes; 0: the bytes at the front are no character
  uint32_t code = 0;
};

// The character at the front of `s`, which must not be empty.
Utf8Char utf8_front(std::string_view s);

bool valid_utf8(std::string_view s);

}  // namespace quoin
