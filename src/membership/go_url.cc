#include "membership/go_url.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/go_text.h"
#include "base/utf8.h"

namespace quoin::membership {
namespace {

// What a character may stand in without being escaped.
enum class Part : uint8_t { kHost, kZone, kUser, kPath, kFragment };

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
int hex_value(char c) {
  return is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10;
}
bool one_of(char c, std::string_view set) {
  return set.find(c) != std::string_view::npos;
}

bool is_plain(char c, Part part) {
  if (is_letter(c) || is_digit(c) || one_of(c, "-_.~")) return true;
  switch (part) {
    case Part::kHost:
    case Part::kZone:
      return one_of(c, "!$&'()*+,;=:[]<>\"");
    case Part::kUser:
      return one_of(c, "$&+,;=");
    case Part::kPath:
      return one_of(c, "$&+,/:;=@");
    case Part::kFragment:
      return one_of(c, "$&+,/:;=?@!()*");
  }
  return false;
}

Error refuse(std::string text) {
  return Error(Code::kInvalidArgument, std::move(text));
}

std::string escape(std::string_view s, Part part) {
  std::string out;
  for (const char c : s) {
    if (is_plain(c, part)) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

// The errors are without the words that every error of a URL begins with.
Result<std::string> unescape(std::string_view s, Part part) {
  std::string out;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '%') {
      const bool host = part == Part::kHost || part == Part::kZone;
      if (host && static_cast<unsigned char>(s[i]) < 0x80 && !is_plain(s[i], part)) {
        return refuse(fmt::format("invalid character {} in host name", go_quote(s.substr(i, 1))));
      }
      out += s[i];
      continue;
    }
    const std::string_view three = s.substr(i, 3);
    const auto bad = [&] { return refuse("invalid URL escape " + go_quote(three)); };
    if (three.size() < 3 || !is_hex(three[1]) || !is_hex(three[2])) return bad();
    const char value = static_cast<char>(hex_value(three[1]) << 4 | hex_value(three[2]));
    if (three != "%25") {
      // In a host only what is not ASCII may be escaped.
      if (part == Part::kHost && hex_value(three[1]) < 8) return bad();
      if (part == Part::kZone && value != ' ' && !is_plain(value, Part::kHost)) return bad();
    }
    out += value;
    i += 2;
  }
  return out;
}

// Whether `raw` may be shown as it was written.
bool keeps_form(std::string_view raw, Part part) {
  return std::ranges::all_of(raw, [&](char c) { return one_of(c, "!$&'()*+,;=:@[]%") || is_plain(c, part); });
}

// The scheme before ':'; empty if there is none.
Result<std::string> take_scheme(std::string_view& rest) {
  for (size_t i = 0; i < rest.size(); ++i) {
    const char c = rest[i];
    if (is_letter(c)) continue;
    if (is_digit(c) || one_of(c, "+-.")) {
      if (i == 0) return std::string();
      continue;
    }
    if (c != ':') return std::string();
    if (i == 0) return refuse("missing protocol scheme");
    std::string scheme(rest.substr(0, i));
    for (char& s : scheme) s = static_cast<char>(s >= 'A' && s <= 'Z' ? s + 32 : s);
    rest.remove_prefix(i + 1);
    return scheme;
  }
  return std::string();
}

Result<> check_port(std::string_view colon_port) {
  if (colon_port.empty() || (colon_port[0] == ':' && std::ranges::all_of(colon_port.substr(1), is_digit))) {
    return {};
  }
  return refuse(fmt::format("invalid port {} after host", go_quote(colon_port)));
}

// netip.ParseAddr of what stands in brackets, which must be of the sixth version.
Result<> check_literal(const std::string& host) {
  const auto bad = [&](std::string_view why) {
    return refuse(fmt::format("invalid host: ParseAddr({}): {}", go_quote(host), why));
  };
  const size_t zone = host.find('%');
  const std::string address = host.substr(0, zone);
  unsigned char buffer[16];
  if (address.find(':') == std::string::npos && address.find('.') != std::string::npos) {
    if (inet_pton(AF_INET, host.c_str(), buffer) == 1) return refuse("invalid IP-literal");
    return bad("IPv4 field has value >255");
  }
  if (address.find(':') == std::string::npos) return bad("unable to parse IP");
  if (inet_pton(AF_INET6, address.c_str(), buffer) != 1) return bad("unable to parse IP");
  if (zone == host.size() - 1) return bad("zone must be a non-empty string");
  return {};
}

Result<std::string> parse_host(std::string_view scheme, std::string_view host) {
  const size_t bracket = host.rfind('[');
  if (bracket != std::string_view::npos && bracket > 0) return refuse("invalid IP-literal");
  if (bracket != 0) {
    // Other schemes may have lists of hosts with their ports.
    const size_t colon = scheme == "http" || scheme == "https" ? host.find(':') : host.rfind(':');
    if (colon != std::string_view::npos) TRY(check_port(host.substr(colon)));
    return unescape(host, Part::kHost);
  }
  const size_t end = host.rfind(']');
  if (end == std::string_view::npos) return refuse("missing ']' in host");
  TRY(check_port(host.substr(end + 1)));
  const std::string_view name = host.substr(1, end - 1);
  const size_t zone = std::min(name.find("%25"), name.size());
  ASSIGN_OR_RETURN(std::string literal, unescape(name.substr(0, zone), Part::kHost));
  ASSIGN_OR_RETURN(const std::string zone_text, unescape(name.substr(zone), Part::kZone));
  literal += zone_text;
  TRY(check_literal(literal));
  return fmt::format("[{}]{}", literal, host.substr(end + 1));
}

Result<> take_authority(std::string_view authority, GoUrl& url) {
  const size_t at = authority.rfind('@');
  ASSIGN_OR_RETURN(url.host, parse_host(url.scheme, authority.substr(at + 1)));
  if (at == std::string_view::npos) return {};
  const std::string_view info = authority.substr(0, at);
  if (!std::ranges::all_of(
          info, [](char c) { return is_letter(c) || is_digit(c) || one_of(c, "-._:~!$&'()*+,;=%@"); })) {
    return refuse("net/url: invalid userinfo");
  }
  const size_t colon = info.find(':');
  ASSIGN_OR_RETURN(url.user, unescape(info.substr(0, colon), Part::kUser));
  if (colon == std::string_view::npos) return {};
  ASSIGN_OR_RETURN(url.password, unescape(info.substr(colon + 1), Part::kUser));
  return {};
}

// `raw` into what it means and, if it is not the usual form of that, how it was written.
Result<> take_encoded(std::string_view raw, Part part, std::string& value, std::string& form) {
  ASSIGN_OR_RETURN(value, unescape(raw, part));
  if (escape(value, part) != raw) form = raw;
  return {};
}

std::string shown(const std::string& value, const std::string& form, Part part) {
  return !form.empty() && keeps_form(form, part) ? form : escape(value, part);
}

Result<> parse_without_fragment(std::string_view text, GoUrl& url) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      return refuse("net/url: invalid control character in URL");
    }
  }
  std::string_view rest = text;
  ASSIGN_OR_RETURN(url.scheme, take_scheme(rest));
  const size_t question = rest.find('?');
  if (question != std::string_view::npos) {
    url.query = rest.substr(question + 1);
    url.has_empty_query = url.query.empty();
    rest = rest.substr(0, question);
  }
  if (!rest.starts_with('/')) {
    if (!url.scheme.empty()) {
      url.opaque = rest;
      return {};
    }
    if (one_of(':', rest.substr(0, rest.find('/')))) {
      return refuse("first path segment in URL cannot contain colon");
    }
  }
  if (rest.starts_with("//") && (!url.scheme.empty() || !rest.starts_with("///"))) {
    const std::string_view authority = rest.substr(2, rest.find('/', 2) - 2);
    rest.remove_prefix(2 + authority.size());
    TRY(take_authority(authority, url));
  } else {
    url.omits_host = !url.scheme.empty() && rest.starts_with('/');
  }
  return take_encoded(rest, Part::kPath, url.path, url.raw_path);
}

// Bytes of the space at the front; 0: there is none.
size_t space_at(std::string_view s) {
  if (s.empty()) return 0;
  if (one_of(s[0], " \t\n\v\f\r")) return 1;
  const Utf8Char c = utf8_front(s);
  const bool space = c.code == 0x85 || c.code == 0xa0 || c.code == 0x1680 ||
                     (c.code >= 0x2000 && c.code <= 0x200a) || c.code == 0x2028 || c.code == 0x2029 ||
                     c.code == 0x202f || c.code == 0x205f || c.code == 0x3000;
  return space ? c.length : 0;
}

}  // namespace

std::string_view trim_space(std::string_view s) {
  while (const size_t n = space_at(s)) s.remove_prefix(n);
  for (bool found = true; found;) {
    found = false;
    for (size_t n = 1; n <= std::min<size_t>(3, s.size()) && !found; ++n) {
      found = space_at(s.substr(s.size() - n)) == n;
      if (found) s.remove_suffix(n);
    }
  }
  return s;
}

std::string GoUrl::text() const {
  std::string out;
  if (!scheme.empty()) out += scheme + ":";
  if (!opaque.empty()) {
    out += opaque;
  } else {
    const bool has_authority = !host.empty() || user;
    if (has_authority || (!scheme.empty() && !omits_host && !path.empty())) out += "//";
    if (user) {
      out += escape(*user, Part::kUser);
      if (password) out += ":" + escape(*password, Part::kUser);
      out += '@';
    }
    out += escape(host, Part::kHost);
    // As Go does: a path alone that would read as a scheme.
    const std::string shown_path = path == "*" ? path : shown(path, raw_path, Part::kPath);
    if (!shown_path.empty() && shown_path[0] != '/' && !host.empty()) out += '/';
    if (out.empty() && one_of(':', shown_path.substr(0, shown_path.find('/')))) out += "./";
    out += shown_path;
  }
  if (has_empty_query || !query.empty()) out += "?" + query;
  if (!fragment.empty()) out += "#" + shown(fragment, raw_fragment, Part::kFragment);
  return out;
}

Result<GoUrl> parse_go_url(std::string_view text) {
  const std::string_view before = text.substr(0, text.find('#'));
  const auto refused = [](std::string_view what, const Error& why) {
    return refuse(fmt::format("parse {}: {}", go_quote(what), why.text()));
  };
  GoUrl url;
  if (const Result<> r = parse_without_fragment(before, url); !r) return refused(before, r.error());
  if (before.size() + 1 >= text.size()) return url;
  const std::string_view fragment = text.substr(before.size() + 1);
  const Result<> r = take_encoded(fragment, Part::kFragment, url.fragment, url.raw_fragment);
  if (!r) return refused(text, r.error());
  return url;
}

Result<GoUrl> parse_member_url(std::string_view text) {
  text = trim_space(text);
  ASSIGN_OR_RETURN(GoUrl url, parse_go_url(text));
  if (url.scheme == "unix" || url.scheme == "unixs") return url;
  if (url.scheme != "http" && url.scheme != "https") {
    return refuse(fmt::format("URL scheme must be http, https, unix, or unixs: {}", text));
  }
  if (!split_host_port(url.host)) {
    return refuse(fmt::format("URL address does not have the form \"host:port\": {}", text));
  }
  if (!url.path.empty()) return refuse(fmt::format("URL must not contain a path: {}", text));
  return url;
}

Result<std::pair<std::string, std::string>> split_host_port(std::string_view s) {
  const auto fail = [s](std::string_view why) {
    return refuse(s.empty() ? std::string(why) : fmt::format("address {}: {}", s, why));
  };
  const size_t colon = s.rfind(':');
  if (colon == std::string_view::npos) return fail("missing port in address");
  std::string_view host;
  size_t open_from = 0, close_from = 0;
  if (s[0] == '[') {
    const size_t end = s.find(']');
    if (end == std::string_view::npos) return fail("missing ']' in address");
    if (end + 1 == s.size()) return fail("missing port in address");
    if (end + 1 != colon)
      return fail(s[end + 1] == ':' ? "too many colons in address" : "missing port in address");
    host = s.substr(1, end - 1);
    open_from = 1;
    close_from = end + 1;
  } else {
    host = s.substr(0, colon);
    if (host.find(':') != std::string_view::npos) return fail("too many colons in address");
  }
  if (s.find('[', open_from) != std::string_view::npos) return fail("unexpected '[' in address");
  if (s.find(']', close_from) != std::string_view::npos) return fail("unexpected ']' in address");
  return std::pair{std::string(host), std::string(s.substr(colon + 1))};
}

}  // namespace quoin::membership
