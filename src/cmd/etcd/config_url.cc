#include "cmd/etcd/config_url.h"

#include <arpa/inet.h>

#include <algorithm>

#include "cmd/etcd/flags_text.h"

namespace quoin::cmd {
namespace {

Error url_error(std::string text) {
  return Error(Code::kInvalidArgument, std::move(text));
}

Error parse_error(std::string_view url, std::string_view reason) {
  return url_error(fmt::format("parse {}: {}", go_quote(url), reason));
}

bool is_alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// The scheme before ':' in lower case; empty if there is none.
Result<std::string> take_scheme(std::string_view url, std::string_view& rest) {
  for (size_t i = 0; i < rest.size(); ++i) {
    const char c = rest[i];
    if (is_alpha(c)) continue;
    if (is_digit(c) || c == '+' || c == '-' || c == '.') {
      if (i == 0) return std::string();
      continue;
    }
    if (c != ':') return std::string();
    if (i == 0) return parse_error(url, "missing protocol scheme");
    std::string scheme(rest.substr(0, i));
    for (char& s : scheme) s = static_cast<char>(s >= 'A' && s <= 'Z' ? s + 32 : s);
    rest.remove_prefix(i + 1);
    return scheme;
  }
  return std::string();
}

// What follows the last colon of a host must be digits or nothing.
bool valid_port(std::string_view colon_port) {
  if (colon_port.empty()) return true;
  return colon_port[0] == ':' && std::all_of(colon_port.begin() + 1, colon_port.end(), is_digit);
}

Result<> check_host(std::string_view url, std::string_view host) {
  for (size_t i = 0; i < host.size(); ++i) {
    const auto c = static_cast<unsigned char>(host[i]);
    if (c == '%') {
      // In a host only escapes of non-ASCII bytes are allowed.
      if (i + 2 >= host.size() || !is_hex(host[i + 1]) || !is_hex(host[i + 2]) || host[i + 1] < '8') {
        return parse_error(url, fmt::format("invalid URL escape {}", go_quote(host.substr(i, 3))));
      }
      continue;
    }
    constexpr std::string_view kAllowed = "!$&'()*+,;=:[]<>\"-_.~";
    if (c < 0x80 && !is_alpha(host[i]) && !is_digit(host[i]) &&
        kAllowed.find(host[i]) == std::string_view::npos) {
      return parse_error(url, fmt::format("invalid character {} in host name", go_quote(host.substr(i, 1))));
    }
  }
  if (!host.empty() && host[0] == '[') {
    const size_t end = host.rfind(']');
    if (end == std::string_view::npos) return parse_error(url, "missing ']' in host");
    if (!valid_port(host.substr(end + 1))) {
      return parse_error(url, fmt::format("invalid port {} after host", go_quote(host.substr(end + 1))));
    }
  } else if (const size_t colon = host.rfind(':');
             colon != std::string_view::npos && !valid_port(host.substr(colon))) {
    return parse_error(url, fmt::format("invalid port {} after host", go_quote(host.substr(colon))));
  }
  return {};
}

Result<Url> parse_generic(std::string_view url) {
  for (const char c : url) {
    const auto u = static_cast<unsigned char>(c);
    if (u < 0x20 || u == 0x7F) return parse_error(url, "net/url: invalid control character in URL");
  }
  Url out;
  std::string_view rest = url.substr(0, url.find('#'));
  const std::string_view before_fragment = rest;
  ASSIGN_OR_RETURN(out.scheme, take_scheme(before_fragment, rest));
  const std::string_view tail_with_query = rest;
  rest = rest.substr(0, rest.find('?'));
  if (rest.substr(0, 1) != "/") {
    // "host:port" without a scheme is read as one; without that, a colon in the first segment is refused.
    if (!out.scheme.empty()) return out;
    if (rest.substr(0, rest.find('/')).find(':') != std::string_view::npos) {
      return parse_error(before_fragment, "first path segment in URL cannot contain colon");
    }
    out.path = tail_with_query;
    return out;
  }
  if (rest.substr(0, 2) == "//" && (!out.scheme.empty() || rest.substr(0, 3) != "///")) {
    std::string_view authority = rest.substr(2);
    const size_t slash = authority.find('/');
    authority = authority.substr(0, slash);
    rest.remove_prefix(2 + authority.size());
    if (const size_t at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
    TRY(check_host(before_fragment, authority));
    out.host = authority;
  }
  for (size_t i = rest.find('%'); i != std::string_view::npos; i = rest.find('%', i + 1)) {
    if (i + 2 >= rest.size() || !is_hex(rest[i + 1]) || !is_hex(rest[i + 2])) {
      return parse_error(before_fragment, fmt::format("invalid URL escape {}", go_quote(rest.substr(i, 3))));
    }
  }
  out.path = rest;
  return out;
}

}  // namespace

std::string Url::hostname() const {
  if (auto split = split_host_port(host)) return split->first;
  return host;
}
std::string Url::port() const {
  if (auto split = split_host_port(host)) return split->second;
  return {};
}

std::optional<uint16_t> Url::port_number() const {
  unsigned n = 0;
  for (const char c : port()) {
    n = n * 10 + static_cast<unsigned>(c - '0');
    if (!is_digit(c) || n > UINT16_MAX) return std::nullopt;
  }
  return static_cast<uint16_t>(n);
}

Result<> check_ports(const Urls& urls) {
  for (const Url& u : urls) {
    if (u.is_unix() || u.port_number()) continue;
    return url_error(fmt::format("listen tcp: address {}: invalid port", u.port()));
  }
  return {};
}

std::vector<std::string> texts(const Urls& urls) {
  std::vector<std::string> out;
  for (const Url& u : urls) out.push_back(u.text());
  return out;
}
std::string joined(const Urls& urls) {
  return join(texts(urls), ",");
}

Result<Urls> parse_urls(std::string_view comma_list) {
  Urls urls;
  for (const std::string& item : split(comma_list, ',')) {
    const std::string_view text = trim_space(item);
    ASSIGN_OR_RETURN(Url url, parse_generic(text));
    if (url.scheme == "http" || url.scheme == "https") {
      if (!split_host_port(url.host)) {
        return url_error(fmt::format("URL address does not have the form \"host:port\": {}", text));
      }
      if (!url.path.empty()) return url_error(fmt::format("URL must not contain a path: {}", text));
    } else if (!url.is_unix()) {
      return url_error(fmt::format("URL scheme must be http, https, unix, or unixs: {}", text));
    }
    urls.push_back(std::move(url));
  }
  std::stable_sort(urls.begin(), urls.end(), [](const Url& a, const Url& b) { return a.text() < b.text(); });
  return urls;
}

Result<std::pair<std::string, std::string>> split_host_port(std::string_view s) {
  const auto fail = [s](std::string_view why) {
    return url_error(s.empty() ? std::string(why) : fmt::format("address {}: {}", s, why));
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

bool is_ip(std::string_view host) {
  const std::string text(host);
  unsigned char buffer[16];
  return inet_pton(AF_INET, text.c_str(), buffer) == 1 || inet_pton(AF_INET6, text.c_str(), buffer) == 1;
}

bool is_loopback_or_unspecified(std::string_view ip) {
  const std::string text(ip);
  in_addr v4;
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) {
    const uint32_t number = ntohl(v4.s_addr);
    return number >> 24 == 127 || number == 0;
  }
  in6_addr v6;
  if (inet_pton(AF_INET6, text.c_str(), &v6) != 1) return false;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) return v6.s6_addr[12] == 127;
  return IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_UNSPECIFIED(&v6);
}

}  // namespace quoin::cmd
