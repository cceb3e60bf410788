#include "base/go_text.h"

#include <fmt/format.h>

#include <iterator>
#include <system_error>

#include "base/utf8.h"

namespace quoin {

namespace {

bool printable(uint32_t code) {
  if (code < 0xa1 || code == 0xad) return false;
  if (code >= 0x2000 && code <= 0x200f) return false;
  if (code >= 0x2028 && code <= 0x202f) return false;
  if (code >= 0x205f && code <= 0x206f) return false;
  if (code == 0x3000 || code == 0xfeff || code == 0x1680) return false;
  return !(code >= 0xe000 && code <= 0xf8ff);
}

// The letter behind the backslash in both forms; '\0' if the character has none.
char escape_letter(char c) {
  switch (c) {
    case '"':
    case '\\':
      return c;
    case '\b':
      return 'b';
    case '\f':
      return 'f';
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    default:
      return '\0';
  }
}

}  // namespace

std::string go_quote(std::string_view s) {
  std::string out = "\"";
  auto to = std::back_inserter(out);
  while (!s.empty()) {
    const Utf8Char c = utf8_front(s);
    const char first = s[0];
    const char letter = first == '\a' ? 'a' : first == '\v' ? 'v' : escape_letter(first);
    if (letter != '\0') {
      out += '\\';
      out += letter;
    } else if (c.length == 0 || c.code < 0x20 || c.code == 0x7f) {
      fmt::format_to(to, "\\x{:02x}", static_cast<unsigned char>(first));
    } else if (c.length == 1 || printable(c.code)) {
      out += s.substr(0, c.length);
    } else if (c.code < 0x10000) {
      fmt::format_to(to, "\\u{:04x}", c.code);
    } else {
      fmt::format_to(to, "\\U{:08x}", c.code);
    }
    s.remove_prefix(c.length == 0 ? 1 : c.length);
  }
  out += '"';
  return out;
}

std::string go_json_string(std::string_view s) {
  std::string out = "\"";
  auto to = std::back_inserter(out);
  while (!s.empty()) {
    const Utf8Char c = utf8_front(s);
    if (c.length == 0) {
      out += "\\ufffd";
      s.remove_prefix(1);
      continue;
    }
    if (const char letter = escape_letter(s[0]); letter != '\0') {
      out += '\\';
      out += letter;
    } else if (c.code < 0x20 || c.code == '<' || c.code == '>' || c.code == '&' || c.code == 0x2028 ||
               c.code == 0x2029) {
      fmt::format_to(to, "\\u{:04x}", c.code);
    } else {
      out += s.substr(0, c.length);
    }
    s.remove_prefix(c.length);
  }
  out += '"';
  return out;
}

std::string go_errno_text(int errno_value) {
  std::string text = std::generic_category().message(errno_value);
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] + 32);
  return text;
}

}  // namespace quoin
