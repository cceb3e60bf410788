#include "cmd/etcdctl/dial_error.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/go_text.h"
#include "base/result.h"

namespace quoin::ctl {
namespace {

constexpr int kWaitMs = 100;

using Handshake = std::function<std::string(int)>;

// 0, or the error number of the attempt. What the handshake says goes to `said`.
int attempt(int family, const sockaddr* address, socklen_t size, const Handshake& handshake,
            std::string& said) {
  const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  int error = connect(fd, address, size) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    pollfd p{fd, POLLOUT, 0};
    if (poll(&p, 1, kWaitMs) <= 0) {
      error = ETIMEDOUT;
    } else {
      socklen_t n = sizeof error;
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
    }
  }
  if (error == 0 && handshake) said = handshake(fd);
  close(fd);
  return error;
}

std::string why(int error) {
  return error == ETIMEDOUT ? "i/o timeout" : "connect: " + go_errno_text(error);
}

std::string while_dialing(std::string_view text) {
  return fmt::format("transport: Error while dialing: {}", text);
}

std::string unix_error(const std::string& path, const Handshake& handshake) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fmt::format("dial unix {}: connect: invalid argument", path);
  std::memcpy(address.sun_path, path.data(), path.size());
  std::string said;
  const int error =
      attempt(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof address, handshake, said);
  return error == 0 ? said : while_dialing(fmt::format("dial unix {}: {}", path, why(error)));
}

}  // namespace

std::string dial_error(const Endpoint& endpoint, const Handshake& handshake) {
  if (endpoint.is_unix) return unix_error(endpoint.address, handshake);
  const size_t colon = endpoint.address.rfind(':');
  if (colon == std::string::npos || endpoint.address.ends_with(']')) {
    return while_dialing(fmt::format("dial tcp: address {}: missing port in address", endpoint.address));
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string port = endpoint.address.substr(colon + 1);
  if (getaddrinfo(endpoint.server_name.c_str(), port.c_str(), &hints, &found) != 0) {
    return while_dialing(fmt::format("dial tcp: lookup {}: no such host", endpoint.server_name));
  }
  std::string first, said;
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    const int error = attempt(a->ai_family, a->ai_addr, a->ai_addrlen, handshake, said);
    if (error == 0) {
      first = said;
      break;
    }
    char host[NI_MAXHOST];
    getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
    const std::string shown = a->ai_family == AF_INET6 ? fmt::format("[{}]", host) : host;
    if (first.empty()) first = while_dialing(fmt::format("dial tcp {}:{}: {}", shown, port, why(error)));
  }
  freeaddrinfo(found);
  return first;
}

}  // namespace quoin::ctl
