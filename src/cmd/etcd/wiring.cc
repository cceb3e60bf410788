#include "cmd/etcd/wiring.h"

#include <algorithm>

#include "cmd/etcd/descriptors.h"
#include "posix/loop.h"

namespace quoin::cmd {

namespace {

front::Address listen_address(const Url& url, const Config& c) {
  front::Address a;
  a.reuse_port = c.socket_reuse_port;
  a.tls = url.is_tls();
  a.plain = !a.tls;
  if (url.is_unix()) {
    a.unix_socket = true;
    a.host = url.host + url.path;
    return a;
  }
  a.host = url.hostname();
  a.port = url.port_number().value_or(0);
  return a;
}

// etcd takes a file's name from the host part alone here.
front::Address inner_address(const Url& url, const Config& c) {
  front::Address a = listen_address(url, c);
  if (url.is_unix()) a.host = url.host;
  return a;
}

// http and https of one host and port share the socket.
std::vector<front::Address> client_addresses(const Urls& urls, const Config& c) {
  std::vector<front::Address> out;
  for (const Url& url : urls) {
    const front::Address a = listen_address(url, c);
    const auto same = std::find_if(out.begin(), out.end(), [&](const front::Address& o) {
      return o.unix_socket == a.unix_socket && o.host == a.host && o.port == a.port;
    });
    if (same == out.end()) {
      out.push_back(a);
    } else {
      same->plain |= a.plain;
      same->tls |= a.tls;
    }
  }
  return out;
}

}  // namespace

front::Options front_options(const Config& c) {
  front::Options o;
  for (const Url& u : c.listen_peer_urls) {
    front::Address a = inner_address(u, c);
    a.tls = u.scheme == "https";  // a peer's unix socket has none, whatever its URL says
    a.plain = !a.tls;
    o.peer.push_back(a);
  }
  o.client = client_addresses(c.listen_client_urls, c);
  o.client_http = client_addresses(c.listen_client_http_urls, c);
  for (const Url& u : c.listen_metrics_urls) o.metrics.push_back(inner_address(u, c));
  o.peer_silence_ns = c.raft_read_timeout;
  o.peer_answer_ns = c.raft_write_timeout;
  constexpr uint64_t kGrpcOverheadBytes = 512 << 10;
  o.limits.max_received_message_bytes = c.server.max_request_bytes + kGrpcOverheadBytes;
  if (c.max_concurrent_streams > 0) o.limits.max_concurrent_streams = c.max_concurrent_streams;
  o.limits.request_bytes = std::max<size_t>(o.limits.request_bytes, 2 * o.limits.max_received_message_bytes);
  o.limits.keepalive_min_time_ns = c.grpc_keepalive_min_time;
  if (c.grpc_keepalive_interval > 0 && c.grpc_keepalive_timeout > 0) {
    o.limits.keepalive_interval_ns = c.grpc_keepalive_interval;
    o.limits.keepalive_timeout_ns = c.grpc_keepalive_timeout;
  }
  o.call_seconds = c.metrics_extensive;
  o.gateway = c.grpc_gateway;
  o.http.cors = c.cors;
  o.http.host_whitelist = c.host_whitelist;
  o.http.etcd_version = kEtcdVersion;
  o.http.quoin_version = kQuoinVersion;
  return o;
}

peer::Options peer_options(const Config& c) {
  peer::Options o;
  o.peer_urls = c.server.initial_advertise_peer_urls;
  o.read_timeout_ns = c.raft_read_timeout;
  o.write_timeout_ns = c.raft_write_timeout;
  o.dial_timeout_ns = io::kSecond + c.server.election_ns;
  o.local_address = c.local_address;
  return o;
}

httpapi::ConstantMetrics constant_metrics(const Config& c) {
  httpapi::ConstantMetrics m;
  m.etcd_version = kEtcdVersion;
  m.go_version = kGoVersion;
  m.quoin_version = kQuoinVersion;
  for (const FeatureGate& g : list_gates(c.gates))
    m.gates.push_back({std::string(g.name), std::string(g.stage), g.enabled});
  m.output_queued_bytes = [] { return static_cast<double>(posix::queued_output_bytes()); };
  m.open_fds = [] { return static_cast<double>(count_descriptors()); };
  m.max_fds = [] { return static_cast<double>(descriptor_limit().open_max); };
  return m;
}

}  // namespace quoin::cmd
