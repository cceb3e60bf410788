// Socket addresses: from what a configuration names, and to the text Go shows.
#pragma once
#include <sys/socket.h>

#include <optional>
#include <string>

#include "io/stream.h"

namespace quoin::posix {

struct SocketAddress {
  sockaddr_storage address = {};
  socklen_t length = 0;
};

// The address to listen on. A name is looked up, and a name server may be waited for. Of a unix socket, also the one to
// connect to. kIo, kInvalidArgument.
Result<SocketAddress> resolve(const io::ListenAddress& address);
// True for an address that stands for all of the machine's.
bool is_wildcard(const io::ListenAddress& address);
// All addresses of both families, where the machine knows IPv6.
std::optional<SocketAddress> both_families(uint16_t port);
// "127.0.0.1:2379", "[::1]:2379"; "@" for what has no address.
std::string address_text(const sockaddr_storage& address);
// Port in `address`, 0 if it has none.
uint16_t port_of(const sockaddr_storage& address);

}  // namespace quoin::posix
