// What may be part of a number or a word in JSON; anything else ends it (protojson). Pure.
#pragma once

namespace quoin::httpapi::gateway {

inline bool is_word_char(char c) {
  return c == '-' || c == '+' || c == '.' || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9');
}

}  // namespace quoin::httpapi::gateway
