#include "cmd/etcdctl/argify.h"

namespace quoin::ctl {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void append_rune(std::string& out, uint32_t rune) {
  const auto byte = [&](uint32_t b) { out += static_cast<char>(b); };
  if (rune < 0x80) {
    byte(rune);
  } else if (rune < 0x800) {
    byte(0xc0 | rune >> 6);
    byte(0x80 | (rune & 0x3f));
  } else if (rune < 0x10000) {
    byte(0xe0 | rune >> 12);
    byte(0x80 | (rune >> 6 & 0x3f));
    byte(0x80 | (rune & 0x3f));
  } else {
    byte(0xf0 | rune >> 18);
    byte(0x80 | (rune >> 12 & 0x3f));
    byte(0x80 | (rune >> 6 & 0x3f));
    byte(0x80 | (rune & 0x3f));
  }
}

// The escape behind a backslash, taken off `s`. False: it is none.
bool take_escape(std::string_view& s, std::string& out) {
  if (s.empty()) return false;
  const char c = s[0];
  s.remove_prefix(1);
  constexpr std::string_view kLetters = "abfnrtv\\\"", kValues = "\a\b\f\n\r\t\v\\\"";
  if (const size_t at = kLetters.find(c); at != std::string_view::npos) {
    out += kValues[at];
    return true;
  }
  const bool octal = c >= '0' && c <= '7';
  const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : octal ? 2 : 0;
  if (digits == 0 || s.size() < digits) return false;
  uint32_t value = octal ? static_cast<uint32_t>(c - '0') : 0;
  for (size_t i = 0; i < digits; ++i) {
    const int d = hex_digit(s[i]);
    if (d < 0 || (octal && d > 7)) return false;
    value = value * (octal ? 8 : 16) + static_cast<uint32_t>(d);
  }
  s.remove_prefix(digits);
  if (c == 'x' || octal) {
    if (value > 255) return false;
    out += static_cast<char>(value);
    return true;
  }
  constexpr uint32_t kRuneMax = 0x10ffff;
  if (value > kRuneMax || (value >= 0xd800 && value < 0xe000)) return false;
  append_rune(out, value);
  return true;
}

// The length of the word in double quotes that begins `s`, 0 if its end is missing.
size_t double_quoted(std::string_view s) {
  for (size_t i = 1; i < s.size(); ++i) {
    if (s[i] == '\\') {
      ++i;
    } else if (s[i] == '"') {
      return i + 1;
    }
  }
  return 0;
}

}  // namespace

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

std::optional<std::string> go_unquote(std::string_view quoted) {
  if (quoted.size() < 2 || quoted.front() != quoted.back()) return std::nullopt;
  std::string_view s = quoted.substr(1, quoted.size() - 2);
  std::string out;
  if (quoted[0] == '`') {
    if (s.find('`') != std::string_view::npos) return std::nullopt;
    for (const char c : s) {
      if (c != '\r') out += c;
    }
    return out;
  }
  if (quoted[0] != '"') return std::nullopt;
  while (!s.empty()) {
    const char c = s[0];
    s.remove_prefix(1);
    if (c == '"' || c == '\n') return std::nullopt;
    if (c != '\\') {
      out += c;
    } else if (!take_escape(s, out)) {
      return std::nullopt;
    }
  }
  return out;
}

std::optional<std::string> take_quoted(std::string_view& text) {
  while (!text.empty() && is_blank(text[0])) text.remove_prefix(1);
  if (text.empty()) return std::nullopt;
  size_t size = 0;
  if (text[0] == '"') {
    size = double_quoted(text);
  } else if (text[0] == '`') {
    const size_t end = text.find('`', 1);
    size = end == std::string_view::npos ? 0 : end + 1;
  }
  if (size == 0) return std::nullopt;
  auto value = go_unquote(text.substr(0, size));
  text.remove_prefix(size);
  return value;
}

Or<std::vector<std::string>> argify(std::string_view line) {
  std::vector<std::string> words;
  while (!line.empty()) {
    const char c = line[0];
    size_t size = 0;
    if (c == '"') {
      size = double_quoted(line);
      if (size > 0) {
        auto word = go_unquote(line.substr(0, size));
        if (!word) return tl::unexpected(fail(kExitInvalidInput, "invalid syntax"));
        words.push_back(std::move(*word));
      }
    } else if (c == '\'') {
      const size_t end = line.find('\'', 1);
      size = end == std::string_view::npos ? 0 : end + 1;
      if (size > 0) words.emplace_back(line.substr(1, size - 2));
    } else if (!is_blank(c)) {
      while (size < line.size() && !is_blank(line[size])) ++size;
      words.emplace_back(line.substr(0, size));
    }
    line.remove_prefix(size == 0 ? 1 : size);
  }
  return words;
}

}  // namespace quoin::ctl
