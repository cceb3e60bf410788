#include "posix/resolver.h"

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "io/clock.h"
#include "posix/executors.h"

namespace quoin::posix {
namespace {

// Runs what was asked of the channel until it is answered or the time is over. False: the time is over.
bool run(const DnsChannel& channel, int64_t timeout_ns) {
  const io::MonotonicNs deadline = TaskMeter::now() + timeout_ns;
  for (;;) {
    ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
    const int wanted = ares_getsock(channel.get(), sockets, ARES_GETSOCK_MAXNUM);
    if (wanted == 0) return true;
    const int64_t left = deadline - TaskMeter::now();
    if (left <= 0) return false;
    timeval most = {static_cast<time_t>(left / io::kSecond),
                    static_cast<suseconds_t>(left % io::kSecond / io::kMicrosecond)};
    timeval storage;
    const timeval* const wait = ares_timeout(channel.get(), &most, &storage);
    pollfd polled[ARES_GETSOCK_MAXNUM];
    nfds_t n = 0;
    for (int i = 0; i < ARES_GETSOCK_MAXNUM; ++i) {
      const short events = static_cast<short>((ARES_GETSOCK_READABLE(wanted, i) ? POLLIN : 0) |
                                              (ARES_GETSOCK_WRITABLE(wanted, i) ? POLLOUT : 0));
      if (events != 0) polled[n++] = {sockets[i], events, 0};
    }
    const int ms = static_cast<int>(wait->tv_sec * 1000 + (wait->tv_usec + 999) / 1000);
    const int ready = ::poll(polled, n, ms);
    if (ready <= 0) ares_process_fd(channel.get(), ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    for (nfds_t i = 0; ready > 0 && i < n; ++i) {
      const bool failed = polled[i].revents & (POLLERR | POLLHUP | POLLNVAL);
      ares_process_fd(channel.get(), failed || (polled[i].revents & POLLIN) ? polled[i].fd : ARES_SOCKET_BAD,
                      polled[i].revents & POLLOUT ? polled[i].fd : ARES_SOCKET_BAD);
    }
  }
}

Error timed_out(const DnsChannel& channel, std::string_view name) {
  return Error(Code::kContextDeadlineExceeded, std::string(channel.error(name, ARES_ETIMEOUT).text()));
}

}  // namespace

Result<std::vector<io::SrvRecord>> DnsResolver::lookup_srv(std::string_view name, int64_t timeout_ns) {
  struct Answer {
    int status = ARES_ENODATA;
    std::vector<io::SrvRecord> records;
  } answer;
  DnsChannel channel(options_, nullptr, nullptr);
  if (channel.status() != ARES_SUCCESS) return channel.error(name, channel.status());
  ares_search(
      channel.get(), std::string(name).c_str(), ns_c_in, ns_t_srv,
      [](void* to, int status, int, unsigned char* bytes, int size) {
        auto& a = *static_cast<Answer*>(to);
        ares_srv_reply* first = nullptr;
        if (status == ARES_SUCCESS) status = ares_parse_srv_reply(bytes, size, &first);
        for (const ares_srv_reply* r = first; r != nullptr; r = r->next) {
          a.records.push_back({std::string(r->host) + ".", r->port, r->priority, r->weight});
        }
        if (first != nullptr) ares_free_data(first);
        a.status = status == ARES_SUCCESS && a.records.empty() ? ARES_ENODATA : status;
      },
      &answer);
  if (!run(channel, timeout_ns)) return timed_out(channel, name);
  if (answer.status != ARES_SUCCESS) return channel.error(name, answer.status);
  std::stable_sort(answer.records.begin(), answer.records.end(), [](const auto& a, const auto& b) {
    return a.priority != b.priority ? a.priority < b.priority : a.weight > b.weight;
  });
  return std::move(answer.records);
}

Result<std::vector<std::string>> DnsResolver::lookup_host(std::string_view name, int64_t timeout_ns) {
  const std::string host(name);
  const auto text = [](const SocketAddress& a) {
    // Without the port, and the brackets of IPv6.
    std::string s = address_text(a.address);
    s.erase(s.rfind(':'));
    return s.starts_with('[') ? s.substr(1, s.size() - 2) : s;
  };
  if (const auto number = numeric_address(host, 0)) return std::vector<std::string>{text(*number)};
  struct Answer {
    int status = ARES_ENODATA;
    std::vector<SocketAddress> addresses;
  } answer;
  DnsChannel channel(options_, nullptr, nullptr);
  if (channel.status() != ARES_SUCCESS) return channel.error(host, channel.status());
  ask_addresses(
      channel, host,
      [](void* to, int status, int, ares_addrinfo* found) {
        auto& a = *static_cast<Answer*>(to);
        if (found != nullptr) a.addresses = take_addresses(found, 0);
        a.status = status == ARES_SUCCESS && a.addresses.empty() ? ARES_ENODATA : status;
      },
      &answer);
  if (!run(channel, timeout_ns)) return timed_out(channel, host);
  if (answer.status != ARES_SUCCESS) return channel.error(host, answer.status);
  std::vector<std::string> out;
  for (const SocketAddress& a : answer.addresses) out.push_back(text(a));
  return out;
}

Result<std::vector<std::string>> DnsResolver::lookup_address(std::string_view ip, int64_t timeout_ns) {
  const std::string text(ip);
  in6_addr address;
  int family = AF_INET;
  if (inet_pton(AF_INET, text.c_str(), &address) != 1) {
    family = AF_INET6;
    if (inet_pton(AF_INET6, text.c_str(), &address) != 1)
      return make_error(Code::kNotFound, "lookup {}: unrecognized address", text);
  }
  struct Answer {
    int status = ARES_ENODATA;
    std::vector<std::string> names;
  } answer;
  DnsChannel channel(options_, nullptr, nullptr);
  if (channel.status() != ARES_SUCCESS) return channel.error(text, channel.status());
  ares_gethostbyaddr(
      channel.get(), &address, family == AF_INET ? sizeof(in_addr) : sizeof(in6_addr), family,
      [](void* to, int status, int, hostent* found) {
        auto& a = *static_cast<Answer*>(to);
        const auto add = [&a](const char* name) {
          std::string dotted = std::string(name) + ".";
          if (std::find(a.names.begin(), a.names.end(), dotted) == a.names.end())
            a.names.push_back(std::move(dotted));
        };
        if (status == ARES_SUCCESS && found->h_name != nullptr) add(found->h_name);
        for (char** alias = status == ARES_SUCCESS ? found->h_aliases : nullptr; alias && *alias; ++alias)
          add(*alias);
        a.status = status == ARES_SUCCESS && a.names.empty() ? ARES_ENODATA : status;
      },
      &answer);
  if (!run(channel, timeout_ns)) return timed_out(channel, text);
  if (answer.status != ARES_SUCCESS) return channel.error(text, answer.status);
  return std::move(answer.names);
}

void DnsResolver::wait(int64_t ns) {
  std::this_thread::sleep_for(std::chrono::nanoseconds(ns));
}

}  // namespace quoin::posix
