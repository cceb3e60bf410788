#include "http1/target.h"

#include <algorithm>

namespace quoin::http1 {
namespace {

bool is_alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool escapes_hold(std::string_view s) {
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '%') continue;
    if (i + 2 >= s.size() || !is_hex(s[i + 1]) || !is_hex(s[i + 2])) return false;
    i += 2;
  }
  return true;
}

// The length of "http" in "http://...", 0 if there is no scheme.
size_t scheme_size(std::string_view s) {
  for (size_t i = 0; i < s.size(); ++i) {
    const char c = s[i];
    if (c == ':') return i;
    if (is_alpha(c)) continue;
    if (i == 0 || !(is_digit(c) || c == '+' || c == '-' || c == '.')) return 0;
  }
  return 0;
}

bool port_holds(std::string_view s) {  // "" or ":2379"
  if (s.empty()) return true;
  return s[0] == ':' && std::all_of(s.begin() + 1, s.end(), is_digit);
}

bool host_holds(std::string_view host) {
  // "[::1]:2379"
  if (!host.empty() && host[0] == '[') {
    const size_t end = host.rfind(']');
    return end != std::string_view::npos && port_holds(host.substr(end + 1));
  }
  const size_t colon = host.rfind(':');
  if (colon != std::string_view::npos && !port_holds(host.substr(colon))) return false;
  constexpr std::string_view kBad = " \"<>\\^`{|}/?#";
  return host.find_first_of(kBad) == std::string_view::npos && host.find('%') == std::string_view::npos;
}

}  // namespace

std::optional<Target> parse_target(std::string_view method, std::string_view text) {
  if (text.empty()) return std::nullopt;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return std::nullopt;
  }
  Target t;
  if (text == "*") {
    t.path = text;
    return t;
  }
  const bool authority_alone = method == "CONNECT" && text[0] != '/';
  std::string_view rest = text;
  size_t scheme = 0;
  if (!authority_alone) {
    scheme = scheme_size(text);
    if (scheme > 0) rest = text.substr(scheme + 1);
  }
  if (const size_t question = rest.find('?'); question != std::string_view::npos) {
    t.query = rest.substr(question + 1);
    rest = rest.substr(0, question);
  }
  if (authority_alone || (scheme > 0 && rest.starts_with("//"))) {
    if (!authority_alone) rest.remove_prefix(2);
    const size_t slash = rest.find('/');
    t.authority = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash);
    if (const size_t at = t.authority.rfind('@'); at != std::string_view::npos)
      t.authority.remove_prefix(at + 1);
    if (!host_holds(t.authority)) return std::nullopt;
  } else if (!rest.starts_with('/')) {
    return std::nullopt;  // "health", "mailto:x"
  }
  if (!escapes_hold(rest)) return std::nullopt;
  t.path = rest;
  return t;
}

}  // namespace quoin::http1
