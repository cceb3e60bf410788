// Frees the buffer of a string. `s = std::string()` does not: the library copies the short string that it is
// given and keeps the buffer; and so does assigning a struct that holds one.
#pragma once
#include <cstddef>
#include <string>

namespace quoin::http2 {

inline void give_back(std::string& s) {
  std::string().swap(s);
}
// Empties it, and frees it if it is larger than `keep_bytes`.
inline void empty(std::string& s, size_t keep_bytes) {
  s.clear();
  if (s.capacity() > keep_bytes) give_back(s);
}

}  // namespace quoin::http2
