// Go's text of a time.Duration: "0s", "1.5µs", "100ms", "2h45m0s". Header only.
#pragma once
#include <cstdint>
#include <string>

namespace quoin {

inline void append_duration(std::string& out, int64_t ns) {
  char buffer[32];
  char* p = buffer + sizeof buffer;
  uint64_t u = ns < 0 ? 0 - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
  const auto number = [&p](uint64_t v) {
    do *--p = static_cast<char>('0' + v % 10);
    while ((v /= 10) != 0);
  };
  // Writes the lowest `digits` decimals of v without trailing zeros, and returns what stands before the
  // point.
  const auto fraction = [&p](uint64_t v, int digits) {
    bool any = false;
    for (int i = 0; i < digits; ++i, v /= 10) {
      any = any || v % 10 != 0;
      if (any) *--p = static_cast<char>('0' + v % 10);
    }
    if (any) *--p = '.';
    return v;
  };
  if (u == 0) {
    out += "0s";
    return;
  }
  *--p = 's';
  if (u < 1'000'000'000) {
    int digits = 0;
    if (u < 1'000) {
      *--p = 'n';
    } else if (u < 1'000'000) {
      *--p = '\xb5';  // U+00B5 in UTF-8
      *--p = '\xc2';
      digits = 3;
    } else {
      *--p = 'm';
      digits = 6;
    }
    number(fraction(u, digits));
  } else {
    u = fraction(u, 9);
    number(u % 60);
    if ((u /= 60) != 0) {
      *--p = 'm';
      number(u % 60);
      if ((u /= 60) != 0) {
        *--p = 'h';
        number(u);
      }
    }
  }
  if (ns < 0) *--p = '-';
  out.append(p, static_cast<size_t>(buffer + sizeof buffer - p));
}

inline std::string duration_text(int64_t ns) {
  std::string out;
  append_duration(out, ns);
  return out;
}

}  // namespace quoin
