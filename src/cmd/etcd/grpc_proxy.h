// `etcd grpc-proxy start`: the proxy (cmd/grpcproxy) as a part of the etcd program.
//
//   read_grpc_proxy_command   command line to options, or cobra's texts
//   check_grpc_proxy_options  what etcd's proxy refuses before it does anything, and what this one does not serve
//   run_grpc_proxy            all of it, until a signal ends the process
//
// Neither environment (but NOTIFY_SOCKET) nor configuration file is read. Log lines are JSON on standard
// error.
//
// Not served, and refused by name: --experimental-leasing-prefix, --experimental-serializable-ordering,
// --enable-pprof, --experimental-enable-grpc-logging.
//
// Threads: the process's own. Source: spec operations 1.10; etcd's server/etcdmain/grpc_proxy.go.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cmd/etcd/signals.h"
#include "cmd/etcd/tcp_gateway.h"
#include "tls/options.h"

namespace quoin::cmd {

struct GrpcProxyOptions {
  std::string listen_addr, metrics_addr, advertise_client_url;
  std::string resolver_prefix, name_space, data_dir;
  int64_t resolver_ttl_s = 0;
  std::string discovery_srv, discovery_srv_name;
  bool insecure_discovery = false;
  std::vector<std::string> endpoints;
  int64_t auto_sync_ns = 0;
  int64_t dial_keepalive_time_ns = 0, dial_keepalive_timeout_ns = 0;
  bool permit_without_stream = false;
  int64_t max_send_bytes = 0, max_recv_bytes = 0;
  int64_t keepalive_min_time_ns = 0, keepalive_interval_ns = 0, keepalive_timeout_ns = 0;
  uint32_t max_concurrent_streams = UINT32_MAX;
  // Towards members: the client pair; `to_members` tells whether it is TLS at all.
  tls::Options members;
  bool to_members = false;
  // Towards clients.
  tls::Options clients;
  bool auto_tls = false;
  uint64_t self_signed_years = 1;
  std::vector<std::string> cipher_suites;
  std::string tls_min_version, tls_max_version;
  bool debug = false;
  std::string not_served;  // the first flag that was given and is not served
};

struct GrpcProxyCommand {
  std::optional<GrpcProxyOptions> options;  // none: `end` says why
  GatewayEnd end;
};
// `args` is argv; the word behind the program's name is "grpc-proxy".
GrpcProxyCommand read_grpc_proxy_command(const std::vector<std::string>& args);

// Fills what follows from the options. Nothing: go on.
std::optional<GatewayEnd> check_grpc_proxy_options(GrpcProxyOptions& options);

// Returns the exit code if it does not start; else a signal ends the process.
int run_grpc_proxy(const std::vector<std::string>& args, EndingSignals& signals);

}  // namespace quoin::cmd
