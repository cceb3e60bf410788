// Source: etcd's client/pkg/srv/srv.go (GetClient), Go's net.LookupSRV.
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netinet/in.h>
#include <resolv.h>

#include <algorithm>

#include "cmd/etcdctl/session.h"

namespace quoin::ctl {
namespace {

struct Record {
  unsigned priority = 0, weight = 0, port = 0;
  std::string target;  // with its trailing dot
};

// The server that was asked, as Go's resolver names it: " on 127.0.0.1:53".
std::string asked_server() {
  char text[INET_ADDRSTRLEN];
  if (_res.nscount == 0 || inet_ntop(AF_INET, &_res.nsaddr_list[0].sin_addr, text, sizeof text) == nullptr)
    return "";
  return fmt::format(" on {}:{}", text, ntohs(_res.nsaddr_list[0].sin_port));
}

// The look-up of one service; an error is in the words of Go's resolver.
tl::expected<std::vector<Record>, std::string> look_up(const std::string& service,
                                                       const std::string& domain) {
  const std::string name = fmt::format("_{}._tcp.{}", service, domain);
  unsigned char answer[NS_MAXMSG];
  const int size = res_query(name.c_str(), ns_c_in, ns_t_srv, answer, sizeof answer);
  if (size < 0) return tl::unexpected(fmt::format("lookup {}{}: no such host", name, asked_server()));
  ns_msg message;
  if (ns_initparse(answer, size, &message) != 0)
    return tl::unexpected(fmt::format("lookup {}: malformed answer", name));
  std::vector<Record> out;
  for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
    constexpr int kFixedBytes = 6;
    ns_rr rr;
    if (ns_parserr(&message, ns_s_an, i, &rr) != 0 || ns_rr_type(rr) != ns_t_srv) continue;
    const unsigned char* data = ns_rr_rdata(rr);
    char target[NS_MAXDNAME];
    if (ns_rr_rdlen(rr) <= kFixedBytes ||
        dn_expand(answer, answer + size, data + kFixedBytes, target, sizeof target) < 0) {
      continue;
    }
    out.push_back({ns_get16(data), ns_get16(data + 2), ns_get16(data + 4), std::string(target) + "."});
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Record& a, const Record& b) { return a.priority < b.priority; });
  return out;
}

}  // namespace

Or<std::vector<std::string>> discover_endpoints(const std::string& domain, const std::string& service_name) {
  const std::string suffix = service_name.empty() ? "" : "-" + service_name;
  const auto secure = look_up("etcd-client-ssl" + suffix, domain);
  const auto plain = look_up("etcd-client" + suffix, domain);
  if (!secure && !plain) {
    return tl::unexpected(fail(kExitError, "dns lookup errors: {} and {}", secure.error(), plain.error()));
  }
  std::vector<std::string> urls;
  const auto take = [&](const auto& records, std::string_view scheme) {
    if (!records) return;
    for (const Record& r : *records) urls.push_back(fmt::format("{}://{}:{}", scheme, r.target, r.port));
  };
  take(secure, "https");
  take(plain, "http");
  return urls;
}

}  // namespace quoin::ctl
