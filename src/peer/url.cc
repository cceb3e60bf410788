#include "peer/url.h"

#include <charconv>

namespace quoin::peer {
namespace {

bool parse_port(std::string_view text, uint16_t* port) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *port);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

Result<Url> parse_url(std::string_view text) {
  const auto bad = [&] { return make_error(Code::kInvalidArgument, "not a member's URL: {}", text); };
  Url url;
  const size_t colons = text.find("://");
  if (colons == std::string_view::npos) return bad();
  const std::string_view scheme = text.substr(0, colons);
  std::string_view host = text.substr(colons + 3);
  if (host.ends_with('/')) host.remove_suffix(1);
  if (host.empty() || host.find_first_of("/?#@ ") != std::string_view::npos) return bad();
  url.text = std::string(text.substr(0, colons + 3)).append(host);
  url.host = host;
  url.tls = scheme == "https" || scheme == "unixs";
  if (scheme == "unix" || scheme == "unixs") {
    url.address.unix_socket = true;
    url.address.host = host;
    return url;
  }
  if (scheme != "http" && scheme != "https") return bad();
  url.address.port = url.tls ? 443 : 80;
  const bool bracketed = host.starts_with('[');
  const size_t close = bracketed ? host.find(']') : 0;
  if (close == std::string_view::npos) return bad();
  const size_t colon = host.find(':', close);
  if (colon != std::string_view::npos && !parse_port(host.substr(colon + 1), &url.address.port)) return bad();
  std::string_view name = host.substr(0, colon);
  if (bracketed) {
    if (close != name.size() - 1) return bad();
    name = name.substr(1, name.size() - 2);
  }
  if (name.empty()) return bad();
  url.address.host = name;
  return url;
}

}  // namespace quoin::peer
