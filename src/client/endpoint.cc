#include "client/endpoint.h"

#include <charconv>

#include "membership/go_url.h"

namespace quoin::client {
namespace {

Result<Endpoint> of_host_port(std::string_view text, std::string_view host_port,
                              Endpoint::Security security) {
  Endpoint e;
  e.text = text;
  e.security = security;
  e.authority = host_port;
  ASSIGN_OR_RETURN(auto parts, membership::split_host_port(host_port));
  e.address.host = std::move(parts.first);
  const std::string& port = parts.second;
  unsigned n = 0;
  const auto r = std::from_chars(port.data(), port.data() + port.size(), n);
  if (r.ec != std::errc() || r.ptr != port.data() + port.size() || n > UINT16_MAX) {
    return make_error(Code::kInvalidArgument, "address {}: invalid port", port);
  }
  e.address.port = static_cast<uint16_t>(n);
  return e;
}

Endpoint of_unix_path(std::string_view text, std::string_view path, Endpoint::Security security) {
  Endpoint e;
  e.text = text;
  e.security = security;
  e.address.unix_socket = true;
  e.address.host = path;
  e.authority = path.substr(path.rfind('/') + 1);
  return e;
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view text) {
  using Security = Endpoint::Security;
  for (const auto& [scheme, security] :
       {std::pair<std::string_view, Security>{"unix:", Security::kAsClient}, {"unixs:", Security::kTls}}) {
    if (!text.starts_with(scheme)) continue;
    std::string_view path = text.substr(scheme.size());
    if (path.starts_with("//")) path.remove_prefix(2);
    return of_unix_path(text, path, security);
  }
  if (text.find("://") == std::string_view::npos) return of_host_port(text, text, Security::kAsClient);
  ASSIGN_OR_RETURN(const membership::GoUrl url, membership::parse_go_url(text));
  if (url.scheme == "http") return of_host_port(text, url.host, Security::kPlain);
  if (url.scheme == "https") return of_host_port(text, url.host, Security::kTls);
  return make_error(Code::kInvalidArgument, "endpoint {} has the unknown scheme {}", text, url.scheme);
}

}  // namespace quoin::client
