#include "cmd/etcd/config_url.h"

#include <arpa/inet.h>

#include <algorithm>

#include "cmd/etcd/flags_text.h"
#include "membership/go_url.h"

namespace quoin::cmd {
namespace {

Error url_error(std::string text) {
  return Error(Code::kInvalidArgument, std::move(text));
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
    if (c < '0' || c > '9' || n > UINT16_MAX) return std::nullopt;
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
    ASSIGN_OR_RETURN(membership::GoUrl url, membership::parse_member_url(item));
    std::string text = url.text();
    urls.push_back({std::move(url.scheme), std::move(url.host), std::move(url.path), std::move(text)});
  }
  std::stable_sort(urls.begin(), urls.end(), [](const Url& a, const Url& b) { return a.text() < b.text(); });
  return urls;
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
