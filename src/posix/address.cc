#include "posix/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace quoin::posix {

std::string address_text(const sockaddr_storage& a) {
  char host[INET6_ADDRSTRLEN] = {};
  if (a.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(a);
    inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
    return fmt::format("{}:{}", host, ntohs(v4.sin_port));
  }
  if (a.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(a);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {  // a client of a socket for both families
      inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], host, sizeof host);
      return fmt::format("{}:{}", host, ntohs(v6.sin6_port));
    }
    inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
    return fmt::format("[{}]:{}", host, ntohs(v6.sin6_port));
  }
  return "@";
}

uint16_t port_of(const sockaddr_storage& a) {
  if (a.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(a).sin_port);
  if (a.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(a).sin6_port);
  return 0;
}

Result<SocketAddress> resolve(const io::ListenAddress& a) {
  SocketAddress r;
  if (a.unix_socket) {
    auto& un = reinterpret_cast<sockaddr_un&>(r.address);
    un.sun_family = AF_UNIX;
    if (a.host.size() >= sizeof un.sun_path)
      return make_error(Code::kInvalidArgument, "{}: path too long", a.host);
    std::memcpy(un.sun_path, a.host.data(), a.host.size());
    r.length = sizeof(sockaddr_un);
    return r;
  }
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(a.port);
  const int e = getaddrinfo(a.host.empty() ? nullptr : a.host.c_str(), port.c_str(), &hints, &found);
  if (e != 0) return make_error(Code::kIo, "lookup {}: {}", a.host, gai_strerror(e));
  // A name that has addresses of both families means the IPv4 one, as in Go: "localhost" is 127.0.0.1.
  const addrinfo* chosen = found;
  while (chosen != nullptr && chosen->ai_family != AF_INET) chosen = chosen->ai_next;
  if (chosen == nullptr) chosen = found;
  std::memcpy(&r.address, chosen->ai_addr, chosen->ai_addrlen);
  r.length = chosen->ai_addrlen;
  freeaddrinfo(found);
  return r;
}

bool is_wildcard(const io::ListenAddress& a) {
  return !a.unix_socket && (a.host.empty() || a.host == "0.0.0.0" || a.host == "::");
}

std::optional<SocketAddress> both_families(uint16_t port) {
  const int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return std::nullopt;
  ::close(probe);
  SocketAddress both;
  auto& v6 = reinterpret_cast<sockaddr_in6&>(both.address);
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = in6addr_any;
  v6.sin6_port = htons(port);
  both.length = sizeof v6;
  return both;
}

}  // namespace quoin::posix
