// In which order the addresses of a name are tried: RFC 6724, as Go and libc sort them.
//
// The rules that a machine can know: an address that it has no source address for comes last (1), then what differs in
// scope (2) or label (5) from its source, then the lower precedence (6), then the wider scope (8). Otherwise the name
// server's order holds. (c-ares sorts too, but as many addresses as an answer has, and each costs four system calls.)
#pragma once
#include <vector>

#include "posix/address.h"

namespace quoin::posix {

void order_addresses(std::vector<SocketAddress>& addresses);

// How good it is to reach `to` from `from` (null: not at all); more is better. For order_addresses() and its test.
uint32_t address_rank(const sockaddr_storage& to, const sockaddr_storage* from);

}  // namespace quoin::posix
