#include "posix/dns.h"

#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "posix/address_order.h"
#include "posix/loop.h"
#include "posix/uv_handle.h"

namespace quoin::posix {
namespace {

std::string server_of(ares_channel channel) {
  ares_addr_port_node* servers = nullptr;
  if (ares_get_servers_ports(channel, &servers) != ARES_SUCCESS || servers == nullptr) return "";
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(servers->family, &servers->addr, text, sizeof text);
  const int port = servers->udp_port != 0 ? servers->udp_port : 53;
  const bool v6 = servers->family == AF_INET6;
  ares_free_data(servers);
  return fmt::format(" on {}{}{}:{}", v6 ? "[" : "", text, v6 ? "]" : "", port);
}

}  // namespace

// As c-ares has them, but for the bound of what is received.
const ares_socket_functions DnsChannel::kSockets = {
    [](int domain, int type, int protocol, void* self) -> ares_socket_t {
      const int fd = ::socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
      if (fd >= 0 && type == SOCK_STREAM) static_cast<DnsChannel*>(self)->received_[fd] = 0;
      return fd;
    },
    [](ares_socket_t fd, void* self) {
      static_cast<DnsChannel*>(self)->received_.erase(fd);
      return ::close(fd);
    },
    [](ares_socket_t fd, const sockaddr* to, ares_socklen_t size, void*) { return ::connect(fd, to, size); },
    [](ares_socket_t fd, void* to, size_t size, int flags, sockaddr* from, ares_socklen_t* from_size,
       void* self) -> ares_ssize_t {
      const ares_ssize_t n = ::recvfrom(fd, to, size, flags, from, from_size);
      auto& received = static_cast<DnsChannel*>(self)->received_;
      if (const auto it = received.find(fd); n > 0 && it != received.end()) {
        it->second += static_cast<size_t>(n);
        if (it->second > kAnswerBytesMax) {
          errno = ECONNRESET;
          return -1;
        }
      }
      return n;
    },
    [](ares_socket_t fd, const iovec* bytes, int count, void*) -> ares_ssize_t {
      return ::writev(fd, bytes, count);
    },
};

DnsChannel::DnsChannel(const DnsOptions& options, SocketChanged changed, void* data) {
  [[maybe_unused]] static const int library = ares_library_init(ARES_LIB_INIT_ALL);
  ares_options o = {};
  int mask = 0;
  if (changed != nullptr) {
    o.sock_state_cb = changed;
    o.sock_state_cb_data = data;
    mask |= ARES_OPT_SOCK_STATE_CB;
  }
  if (options.try_timeout_ms > 0) {
    o.timeout = options.try_timeout_ms;
    mask |= ARES_OPT_TIMEOUTMS;
  }
  if (options.tries > 0) {
    o.tries = options.tries;
    mask |= ARES_OPT_TRIES;
  }
  status_ = ares_init_options(&channel_, &o, mask);
  if (status_ == ARES_SUCCESS) ares_set_socket_functions(channel_, &kSockets, this);
  if (status_ == ARES_SUCCESS && !options.servers.empty())
    status_ = ares_set_servers_ports_csv(channel_, options.servers.c_str());
}

DnsChannel::~DnsChannel() {
  if (channel_ != nullptr) ares_destroy(channel_);
}

Error DnsChannel::error(std::string_view name, int status) const {
  Code code = Code::kIo;
  std::string_view text;
  switch (status) {
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
    case ARES_ENONAME:
    case ARES_EBADNAME:
      code = Code::kNotFound;
      text = "no such host";
      break;
    case ARES_ESERVFAIL:
    case ARES_EREFUSED:
    case ARES_ENOTIMP:
    case ARES_EFORMERR:
    case ARES_EBADRESP:
    case ARES_ECONNREFUSED:  // c-ares says so too when all servers answered that they failed
      text = "server misbehaving";
      break;
    case ARES_ETIMEOUT:
      text = "i/o timeout";
      break;
    default:
      text = ares_strerror(status);
  }
  return make_error(code, "lookup {}{}: {}", name, channel_ != nullptr ? server_of(channel_) : "", text);
}

std::optional<SocketAddress> numeric_address(const std::string& host, uint16_t port) {
  SocketAddress a;
  auto& v4 = reinterpret_cast<sockaddr_in&>(a.address);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(a.address);
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    a.length = sizeof v4;
    return a;
  }
  if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    a.length = sizeof v6;
    return a;
  }
  if (host.find('%') == std::string::npos) return std::nullopt;
  addrinfo hints = {};
  hints.ai_family = AF_INET6;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return std::nullopt;
  std::memcpy(&a.address, found->ai_addr, found->ai_addrlen);
  a.length = found->ai_addrlen;
  freeaddrinfo(found);
  return a;
}

void ask_addresses(const DnsChannel& channel, const std::string& host,
                   void (*done)(void* data, int status, int timeouts, ares_addrinfo* found), void* data) {
  ares_addrinfo_hints hints = {};
  hints.ai_flags = ARES_AI_NOSORT;
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  ares_getaddrinfo(channel.get(), host.c_str(), nullptr, &hints, done, data);
}

std::vector<SocketAddress> take_addresses(ares_addrinfo* found, uint16_t port) {
  std::vector<SocketAddress> out;
  for (const ares_addrinfo_node* n = found->nodes; n != nullptr && out.size() < kAddressesMax;
       n = n->ai_next) {
    if (n->ai_family != AF_INET && n->ai_family != AF_INET6) continue;
    SocketAddress& a = out.emplace_back();
    std::memcpy(&a.address, n->ai_addr, n->ai_addrlen);
    a.length = n->ai_addrlen;
    if (n->ai_family == AF_INET) {
      reinterpret_cast<sockaddr_in&>(a.address).sin_port = htons(port);
    } else {
      reinterpret_cast<sockaddr_in6&>(a.address).sin6_port = htons(port);
    }
  }
  ares_freeaddrinfo(found);
  order_addresses(out);
  return out;
}

struct HostLookup::Impl {
  Impl(UvLoop& l, const DnsOptions& options, std::string h, uint16_t p, Done d)
      : loop(l), host(std::move(h)), port(p), done(std::move(d)), channel(options, socket_changed, this) {}

  UvLoop& loop;
  const std::string host;
  const uint16_t port;
  Done done;
  std::optional<Result<std::vector<SocketAddress>>> result;
  std::unique_ptr<UvTimer> timer;
  std::map<int, std::unique_ptr<UvPoll>> polls;
  DnsChannel channel;  // goes first: it gives its sockets back

  void begin() {
    if (channel.status() != ARES_SUCCESS) {
      result = channel.error(host, channel.status());
      return;
    }
    ask_addresses(
        channel, host,
        [](void* self, int status, int, ares_addrinfo* found) {
          static_cast<Impl*>(self)->found(status, found);
        },
        this);
  }

  void found(int status, ares_addrinfo* addresses) {
    std::vector<SocketAddress> all;
    if (addresses != nullptr) all = take_addresses(addresses, port);
    if (status == ARES_EDESTRUCTION) return;
    if (status == ARES_SUCCESS && all.empty()) status = ARES_ENODATA;
    if (status == ARES_SUCCESS) {
      result = std::move(all);
    } else {
      result = channel.error(host, status);
    }
  }

  // c-ares wants other events of a socket, or none any more and is about to close it.
  static void socket_changed(void* data, int fd, int readable, int writable) {
    auto* self = static_cast<Impl*>(data);
    if (!readable && !writable) {
      self->polls.erase(fd);
      return;
    }
    auto& poll = self->polls[fd];
    if (!poll) {
      poll = std::make_unique<UvPoll>(self->loop.uv(), fd, [self, fd](bool r, bool w) {
        self->process(r ? fd : ARES_SOCKET_BAD, w ? fd : ARES_SOCKET_BAD);
      });
    }
    poll->want(readable, writable);
  }

  void process(int readable, int writable) {
    ares_process_fd(channel.get(), readable, writable);
    go_on();
  }

  // What follows each call of c-ares. The end of this may be the end of the look-up.
  void go_on() {
    if (result) {
      timer.reset();
      Done told = std::move(done);
      told(std::move(*result));
      return;
    }
    timeval tv = {};
    if (ares_timeout(channel.get(), nullptr, &tv) == nullptr) return;
    const auto ms = static_cast<uint64_t>(tv.tv_sec) * 1000 + static_cast<uint64_t>(tv.tv_usec + 999) / 1000;
    timer = std::make_unique<UvTimer>(loop.uv(), ms, [this] { process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); });
  }
};

HostLookup::HostLookup(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HostLookup::~HostLookup() = default;

std::unique_ptr<HostLookup> HostLookup::start(UvLoop& loop, const DnsOptions& options,
                                              const std::string& host, uint16_t port, Done done) {
  auto impl = std::make_unique<Impl>(loop, options, host, port, std::move(done));
  Impl* const i = impl.get();
  std::unique_ptr<HostLookup> lookup(new HostLookup(std::move(impl)));
  i->begin();
  i->go_on();
  return lookup;
}

}  // namespace quoin::posix
