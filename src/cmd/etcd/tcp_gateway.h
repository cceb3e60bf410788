// `etcd gateway start`: the layer-4 forwarder (front/tcp_forwarder.h) as a part of the etcd program.
//
//   read_gateway_command   command line to options, or cobra's texts
//   plan_gateway           which backends: by DNS SRV records or --endpoints, and what they must not be
//   run_gateway            all of it, and the forwarder until a signal ends the process
//
// Neither environment (but NOTIFY_SOCKET) nor configuration file is read. Log lines are JSON on standard error.
//
// Threads: the process's own; it blocks (names, the dials of a discovery). Source: spec operations 1.10; etcd's
// server/etcdmain/gateway.go and util.go, client/pkg/srv, client/pkg/transport (ValidateSecureEndpoints).
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "cmd/etcd/signals.h"
#include "front/backend_choice.h"
#include "io/resolver.h"
#include "io/stream.h"

namespace quoin::cmd {

struct GatewayOptions {
  std::string listen_addr;
  std::string discovery_srv, discovery_srv_name;
  bool insecure_discovery = false;
  std::string trusted_ca_file;
  std::vector<std::string> endpoints;
  int64_t retry_delay_ns = 0;
};

// What is said when it does not start.
struct GatewayEnd {
  std::string out, err;  // for standard output and standard error
  int exit_code = 1;
};

struct GatewayCommand {
  std::optional<GatewayOptions> options;  // none: `end` says why
  GatewayEnd end;
};
// `args` is argv; the word behind the program's name is "gateway".
GatewayCommand read_gateway_command(const std::vector<std::string>& args);

struct GatewayPlan {
  std::vector<front::Backend> backends;
  io::ListenAddress listen;
};
struct GatewayPlanOrEnd {
  std::optional<GatewayPlan> plan;
  GatewayEnd end;
};
struct GatewayWorld {
  io::Resolver& resolver;
  // Connects to a host and port and lets go again; the errors of io::Network::connect().
  std::function<Result<>(const std::string& host, uint16_t port)> dial;
  // Whether a file of trusted certificates can be used.
  std::function<Result<>(const std::string& path)> check_trusted;
  log::Logger& log;
};
// The endpoints that --discovery-srv names; empty without it. Errors: etcd's text.
Result<std::vector<std::string>> discover_endpoints(const GatewayOptions& options, const GatewayWorld& world);
GatewayPlanOrEnd plan_gateway(const GatewayOptions& options, const GatewayWorld& world);

// Returns the exit code if it does not start; else a signal ends the process.
int run_gateway(const std::vector<std::string>& args, EndingSignals& signals);

}  // namespace quoin::cmd
