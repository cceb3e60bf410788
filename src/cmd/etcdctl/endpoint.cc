#include "cmd/etcdctl/endpoint.h"

#include <arpa/inet.h>

namespace quoin::ctl {
namespace {

bool is_ip(const std::string& host, int family) {
  unsigned char buffer[16];
  return inet_pton(family, host.c_str(), buffer) == 1;
}

// The host of "host:port" or "[v6]:port".
std::string host_of(const std::string& address) {
  if (address.starts_with('[')) {
    const size_t end = address.find(']');
    if (end != std::string::npos) return address.substr(1, end - 1);
  }
  const size_t colon = address.rfind(':');
  return colon == std::string::npos ? address : address.substr(0, colon);
}

}  // namespace

Endpoint read_endpoint(std::string_view given) {
  Endpoint e;
  e.given = given;
  const auto after = [&](std::string_view prefix) { return std::string(given.substr(prefix.size())); };
  for (const bool secure : {false, true}) {
    const std::string scheme = secure ? "unixs:" : "unix:";
    if (!given.starts_with(scheme)) continue;
    std::string path = after(scheme);
    if (path.starts_with("//")) path = path.substr(2);
    e.is_unix = true;
    e.tls = secure ? Endpoint::Tls::kAlways : Endpoint::Tls::kIfConfigured;
    e.address = path;
    e.target = "unix:" + path;
    const std::string file = path.substr(path.rfind('/') + 1);
    e.server_name = host_of(file);
    return e;
  }
  e.address = given;
  if (given.starts_with("http://")) {
    e.address = after("http://");
    e.tls = Endpoint::Tls::kNever;
  } else if (given.starts_with("https://")) {
    e.address = after("https://");
    e.tls = Endpoint::Tls::kAlways;
  }
  if (const size_t slash = e.address.find('/');
      slash != std::string::npos && e.tls != Endpoint::Tls::kIfConfigured) {
    e.address.resize(slash);
  }
  e.server_name = host_of(e.address);
  if (is_ip(e.server_name, AF_INET)) {
    e.target = "ipv4:" + e.address;
  } else if (is_ip(e.server_name, AF_INET6)) {
    e.target = "ipv6:" + e.address;
  } else {
    e.target = "dns:///" + e.address;
  }
  return e;
}

std::string authority_of(std::string_view given) {
  if (const size_t at = given.find("://"); at != std::string_view::npos)
    return std::string(given.substr(at + 3));
  for (const std::string_view scheme : {"unix:", "unixs:"}) {
    if (given.starts_with(scheme)) return std::string(given.substr(scheme.size()));
  }
  return std::string(given);
}

}  // namespace quoin::ctl
