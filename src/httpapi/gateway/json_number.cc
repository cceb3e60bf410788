#include "httpapi/gateway/json_number.h"

#include <charconv>
#include <limits>

#include "base/utf8.h"
#include "httpapi/gateway/json_word.h"

namespace quoin::httpapi::gateway {
namespace {

struct Parts {
  bool negative = false;
  std::string_view whole, fraction, exponent;  // whole without a single 0; fraction without zeros at its end
};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::string_view take_digits(std::string_view& s) {
  size_t n = 0;
  while (n < s.size() && is_digit(s[n])) ++n;
  const std::string_view digits = s.substr(0, n);
  s.remove_prefix(n);
  return digits;
}

std::optional<Parts> parse(std::string_view s) {
  Parts parts;
  while (!s.empty() && (s[0] == ' ' || s[0] == '\n' || s[0] == '\r' || s[0] == '\t')) s.remove_prefix(1);
  if (!s.empty() && s[0] == '-') {
    parts.negative = true;
    s.remove_prefix(1);
  }
  if (s.empty() || !is_digit(s[0])) return std::nullopt;
  if (s[0] == '0') {
    s.remove_prefix(1);
  } else {
    parts.whole = take_digits(s);
  }
  if (s.size() >= 2 && s[0] == '.' && is_digit(s[1])) {
    s.remove_prefix(1);
    parts.fraction = take_digits(s);
    while (!parts.fraction.empty() && parts.fraction.back() == '0') parts.fraction.remove_suffix(1);
  }
  if (s.size() >= 2 && (s[0] == 'e' || s[0] == 'E')) {
    s.remove_prefix(1);
    const std::string_view begin = s;
    if (s[0] == '+' || s[0] == '-') {
      s.remove_prefix(1);
      if (s.empty()) return std::nullopt;
    }
    take_digits(s);
    parts.exponent = begin.substr(0, begin.size() - s.size());
  }
  if (!s.empty() && is_word_char(s[0])) return std::nullopt;
  return parts;
}

// The digits of the whole number.
struct Digits {
  static constexpr size_t kMax = 20;  // of 2^64 - 1
  char text[kMax];
  size_t size = 0;
  bool append(std::string_view digits) {
    if (digits.size() > kMax - size) return false;
    for (const char c : digits) text[size++] = c;
    return true;
  }
};

std::optional<Digits> whole_digits(const Parts& parts) {
  Digits out;
  if (parts.whole.empty() && parts.fraction.empty()) {
    out.append("0");
    return out;
  }
  int32_t exponent = 0;
  if (!parts.exponent.empty()) {
    std::string_view e = parts.exponent;
    if (e[0] == '+') e.remove_prefix(1);
    const auto r = std::from_chars(e.data(), e.data() + e.size(), exponent);
    if (r.ec != std::errc() || r.ptr != e.data() + e.size()) return std::nullopt;
  }
  if (exponent >= 0) {
    const auto e = static_cast<size_t>(exponent);
    if (parts.fraction.size() > e || parts.whole.size() + e > Digits::kMax) return std::nullopt;
    if (!out.append(parts.whole) || !out.append(parts.fraction)) return std::nullopt;
    for (size_t i = parts.fraction.size(); i < e; ++i) out.append("0");
    return out;
  }
  const auto cut = static_cast<size_t>(-static_cast<int64_t>(exponent));
  if (!parts.fraction.empty() || cut > parts.whole.size()) return std::nullopt;
  const size_t kept = parts.whole.size() - cut;
  if (parts.whole.substr(kept).find_first_not_of('0') != std::string_view::npos) return std::nullopt;
  if (!out.append(parts.whole.substr(0, kept))) return std::nullopt;
  return out;
}

struct Number {
  bool negative;
  uint64_t magnitude;
};

std::optional<Number> number(std::string_view text) {
  const auto parts = parse(text);
  if (!parts) return std::nullopt;
  const auto digits = whole_digits(*parts);
  if (!digits) return std::nullopt;
  uint64_t value = 0;
  const auto r = std::from_chars(digits->text, digits->text + digits->size, value);
  if (r.ec != std::errc() || r.ptr != digits->text + digits->size) return std::nullopt;
  // Go has no "-0" here: it becomes "0" before its sign is written, unless it has digits.
  const bool zero = parts->whole.empty() && parts->fraction.empty();
  return Number{parts->negative && !zero, value};
}

bool is_space(uint32_t c) {
  return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

}  // namespace

std::optional<int64_t> json_int(std::string_view text, unsigned bits) {
  const auto n = number(text);
  if (!n) return std::nullopt;
  const uint64_t max = (uint64_t{1} << (bits - 1)) - (n->negative ? 0 : 1);
  if (n->magnitude > max) return std::nullopt;
  return static_cast<int64_t>(n->negative ? 0 - n->magnitude : n->magnitude);
}

std::optional<uint64_t> json_uint(std::string_view text, unsigned bits) {
  const auto n = number(text);
  if (!n || n->negative) return std::nullopt;
  if (bits < 64 && n->magnitude >> bits != 0) return std::nullopt;
  return n->magnitude;
}

bool has_outer_space(std::string_view text) {
  if (text.empty()) return false;
  if (is_space(utf8_front(text).code)) return true;
  size_t last = text.size() - 1;
  while (last > 0 && (static_cast<unsigned char>(text[last]) & 0xc0) == 0x80) --last;
  return is_space(utf8_front(text.substr(last)).code);
}

}  // namespace quoin::httpapi::gateway
