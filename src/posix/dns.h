// Names to addresses by c-ares, without waiting on the loop. Search domains, ndots and /etc/hosts are c-ares's;
// resolv.conf is read anew for each look-up, so a changed one is seen.
//
// Bounds: kAnswerBytesMax of what a name server sends over one TCP connection (c-ares links each address behind the last
// one, from the first: 4,000 of them cost 15 ms); a server that sends more has failed. kAddressesMax of a name are used.
//
// Errors, with Go's words: kNotFound "lookup nohost on 10.0.0.2:53: no such host"; kIo for servers that fail or are not
// there ("server misbehaving") or do not answer in their own time ("i/o timeout"). The server named is the first one
// configured.
#pragma once
#include <absl/functional/any_invocable.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "posix/address.h"

struct ares_channeldata;
struct ares_addrinfo;
struct ares_socket_functions;

namespace quoin::posix {

class UvLoop;

struct DnsOptions {
  std::string servers;     // "10.0.0.2:53,[fd00::1]:53"; empty: those of resolv.conf
  int try_timeout_ms = 0;  // for one server to answer; 0: resolv.conf's, or 5 s
  int tries = 0;           // 0: resolv.conf's, or 4
};

inline constexpr size_t kAnswerBytesMax = 8 << 10;
inline constexpr size_t kAddressesMax = 64;

// One channel of c-ares, for one look-up. Confined to its owner's thread.
class DnsChannel {
 public:
  using SocketChanged = void (*)(void* data, int fd, int readable, int writable);
  // `changed` may be null: the owner asks for the sockets itself.
  DnsChannel(const DnsOptions& options, SocketChanged changed, void* data);
  ~DnsChannel();  // look-ups that run end with ARES_EDESTRUCTION
  DnsChannel(const DnsChannel&) = delete;
  DnsChannel& operator=(const DnsChannel&) = delete;

  int status() const { return status_; }  // of c-ares; the channel is of no use unless ARES_SUCCESS
  ares_channeldata* get() const { return channel_; }
  Error error(std::string_view name, int status) const;

 private:
  static const ares_socket_functions kSockets;

  ares_channeldata* channel_ = nullptr;
  int status_;
  std::map<int, size_t> received_;  // over TCP, by socket
};

// An address as a number, IPv6 zones included; no look-up.
std::optional<SocketAddress> numeric_address(const std::string& host, uint16_t port);
// Asks for the addresses of a name, both families; `done` is c-ares's.
void ask_addresses(const DnsChannel& channel, const std::string& host,
                   void (*done)(void* data, int status, int timeouts, ares_addrinfo* found), void* data);
// Takes the result over: the addresses in the order in which they should be tried.
std::vector<SocketAddress> take_addresses(ares_addrinfo* found, uint16_t port);

// One look-up of a name's addresses, on a loop. Dropping it ends it.
class HostLookup {
 public:
  using Done = absl::AnyInvocable<void(Result<std::vector<SocketAddress>>)>;
  // On the loop. `done` runs there, perhaps within this call, and may drop the look-up if it runs later.
  static std::unique_ptr<HostLookup> start(UvLoop& loop, const DnsOptions& options, const std::string& host,
                                           uint16_t port, Done done);
  ~HostLookup();

 private:
  struct Impl;
  explicit HostLookup(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quoin::posix
