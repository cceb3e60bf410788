#include "posix/address_order.h"

#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace quoin::posix {
namespace {

// Every address as IPv6 has it.
in6_addr as_v6(const sockaddr_storage& a) {
  if (a.ss_family == AF_INET6) return reinterpret_cast<const sockaddr_in6&>(a).sin6_addr;
  in6_addr out = {};
  out.s6_addr[10] = out.s6_addr[11] = 0xff;
  std::memcpy(&out.s6_addr[12], &reinterpret_cast<const sockaddr_in&>(a).sin_addr, 4);
  return out;
}

struct Policy {
  uint8_t prefix[4];
  uint8_t bits;
  uint8_t precedence, label;
};
// RFC 6724 2.1, but for the three that all 128 or 96 bits decide.
constexpr Policy kPolicies[] = {
    {{0x20, 0x01, 0, 0}, 32, 5, 5},   // Teredo
    {{0x20, 0x02, 0, 0}, 16, 30, 2},  // 6to4
    {{0x3f, 0xfe, 0, 0}, 16, 1, 12},  // 6bone
    {{0xfe, 0xc0, 0, 0}, 10, 1, 11},  // site-local
    {{0xfc, 0x00, 0, 0}, 7, 3, 13},   // unique local
};

Policy policy_of(const in6_addr& a) {
  if (IN6_IS_ADDR_LOOPBACK(&a)) return {{}, 128, 50, 0};
  if (IN6_IS_ADDR_V4MAPPED(&a)) return {{}, 96, 35, 4};
  if (IN6_IS_ADDR_V4COMPAT(&a)) return {{}, 96, 1, 3};
  for (const Policy& p : kPolicies) {
    bool matches = true;
    for (unsigned bit = 0; bit < p.bits && matches; ++bit) {
      matches = ((a.s6_addr[bit / 8] ^ p.prefix[bit / 8]) >> (7 - bit % 8) & 1) == 0;
    }
    if (matches) return p;
  }
  return {{}, 0, 40, 1};
}

// 2: link-local, 5: site-local, 14: global.
uint32_t scope_of(const in6_addr& a) {
  if (IN6_IS_ADDR_MULTICAST(&a)) return a.s6_addr[1] & 0xf;
  if (IN6_IS_ADDR_V4MAPPED(&a)) {
    const uint8_t first = a.s6_addr[12], second = a.s6_addr[13];
    return first == 127 || (first == 169 && second == 254) ? 2 : 14;
  }
  if (IN6_IS_ADDR_LOOPBACK(&a) || IN6_IS_ADDR_LINKLOCAL(&a)) return 2;
  return IN6_IS_ADDR_SITELOCAL(&a) ? 5 : 14;
}

}  // namespace

uint32_t address_rank(const sockaddr_storage& to, const sockaddr_storage* from) {
  if (from == nullptr) return 0;
  const in6_addr t = as_v6(to), f = as_v6(*from);
  const Policy there = policy_of(t), here = policy_of(f);
  const uint32_t usable = 1, scope = scope_of(t) == scope_of(f), label = there.label == here.label;
  return usable << 24 | scope << 23 | label << 22 | uint32_t{there.precedence} << 8 | (16 - scope_of(t));
}

void order_addresses(std::vector<SocketAddress>& addresses) {
  if (addresses.size() < 2) return;
  std::vector<std::pair<uint32_t, SocketAddress>> ranked;
  for (const SocketAddress& a : addresses) {
    // Connecting a datagram socket sends nothing; it chooses a source address.
    const int fd = socket(a.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_storage from = {};
    socklen_t n = sizeof from;
    const bool usable = fd >= 0 &&
                        connect(fd, reinterpret_cast<const sockaddr*>(&a.address), a.length) == 0 &&
                        getsockname(fd, reinterpret_cast<sockaddr*>(&from), &n) == 0;
    if (fd >= 0) ::close(fd);
    ranked.emplace_back(address_rank(a.address, usable ? &from : nullptr), a);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  for (size_t i = 0; i < ranked.size(); ++i) addresses[i] = ranked[i].second;
}

}  // namespace quoin::posix
