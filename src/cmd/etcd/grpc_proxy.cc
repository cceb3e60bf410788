#include "cmd/etcd/grpc_proxy.h"

#include "base/go_text.h"
#include "cmd/cobra/command.h"
#include "io/clock.h"

namespace quoin::cmd {
namespace {

GatewayEnd refusal(std::string text) {
  return {"", std::move(text) + "\n", 1};
}

void add_flags(CobraFlags& flags) {
  using Kind = CobraFlag::Kind;
  const auto text = [&](const char* name, const char* value, const char* help) {
    flags.add({.name = name, .help = help, .text = value});
  };
  const auto boolean = [&](const char* name, const char* help) {
    flags.add({.name = name, .kind = Kind::kBool, .help = help});
  };
  const auto duration = [&](const char* name, int64_t ns, const char* help) {
    flags.add({.name = name, .kind = Kind::kDuration, .help = help, .duration_ns = ns});
  };
  const auto integer = [&](const char* name, int64_t value, const char* help) {
    flags.add({.name = name, .kind = Kind::kInt, .help = help, .number = value});
  };
  text("listen-addr", "127.0.0.1:23790", "listen address");
  text("discovery-srv", "", "domain name to query for SRV records describing cluster endpoints");
  text("discovery-srv-name", "", "service name to query when using DNS discovery");
  text("metrics-addr", "", "listen for endpoint /metrics requests on an additional interface");
  boolean("insecure-discovery", "accept insecure SRV records");
  flags.add({.name = "endpoints",
             .kind = Kind::kStrings,
             .help = "comma separated etcd cluster endpoints",
             .list = {"127.0.0.1:2379"}});
  duration("endpoints-auto-sync-interval", 0, "etcd endpoints auto sync interval (disabled by default)");
  duration("dial-keepalive-time", 0,
           "keepalive time for client(grpc-proxy) connections (default 0, disable).");
  duration("dial-keepalive-timeout", 20 * io::kSecond,
           "keepalive timeout for client(grpc-proxy) connections (default 20s).");
  boolean("permit-without-stream",
          "Enable client(grpc-proxy) to send keepalive pings even with no active RPCs.");
  text("advertise-client-url", "127.0.0.1:23790",
       "advertise address to register (must be reachable by client)");
  text("resolver-prefix", "",
       "prefix to use for registering proxy (must be shared with other grpc-proxy members)");
  integer("resolver-ttl", 0, "specify TTL, in seconds, when registering proxy endpoints");
  text("namespace", "", "string to prefix to all keys for namespacing requests");
  boolean("enable-pprof",
          "Enable runtime profiling data via HTTP server. Address is at client URL + \"/debug/pprof/\"");
  text("data-dir", "default.proxy", "Data directory for persistent data");
  integer("max-send-bytes", 1'572'864, "message send limits in bytes (default value is 1.5 MiB)");
  integer("max-recv-bytes", INT32_MAX, "message receive limits in bytes (default value is math.MaxInt32)");
  duration("grpc-keepalive-min-time", 5 * io::kSecond,
           "Minimum interval duration that a client should wait before pinging proxy.");
  duration("grpc-keepalive-interval", 7'200 * io::kSecond,
           "Frequency duration of server-to-client ping to check if a connection is alive (0 to disable).");
  duration("grpc-keepalive-timeout", 20 * io::kSecond,
           "Additional duration of wait before closing a non-responsive connection (0 to disable).");
  text("cert", "", "identify secure connections with etcd servers using this TLS certificate file");
  text("key", "", "identify secure connections with etcd servers using this TLS key file");
  text("cacert", "", "verify certificates of TLS-enabled secure etcd servers using this CA bundle");
  boolean(
      "insecure-skip-tls-verify",
      "skip authentication of etcd server TLS certificates (CAUTION: this option should be enabled only for "
      "testing purposes)");
  text("cert-file", "", "identify secure connections to the proxy using this TLS certificate file");
  text("key-file", "", "identify secure connections to the proxy using this TLS key file");
  text("trusted-ca-file", "", "verify certificates of TLS-enabled secure proxy using this CA bundle");
  flags.add({.name = "listen-cipher-suites",
             .kind = Kind::kStrings,
             .help =
                 "Comma-separated list of supported TLS cipher suites between client/proxy (empty will be "
                 "auto-populated by Go)."});
  boolean("auto-tls", "proxy TLS using generated certificates");
  text("client-crl-file", "", "proxy client certificate revocation list file.");
  flags.add({.name = "self-signed-cert-validity",
             .kind = Kind::kUint64,
             .help = "The validity period of the proxy certificates, unit is year",
             .unsigned_number = 1});
  text("tls-min-version", "TLS1.2",
       "Minimum TLS version supported by grpc proxy. Possible values: TLS1.2, TLS1.3.");
  text("tls-max-version", "",
       "Maximum TLS version supported by grpc proxy. Possible values: TLS1.2, TLS1.3 (empty defers to Go).");
  boolean("experimental-serializable-ordering",
          "Ensure serializable reads have monotonically increasing store revisions across endpoints.");
  text("experimental-leasing-prefix", "", "leasing metadata prefix for disconnected linearized reads.");
  boolean("experimental-enable-grpc-logging", "logging all grpc requests and responses");
  boolean("debug", "Enable debug-level logging for grpc-proxy.");
  flags.add({.name = "max-concurrent-streams",
             .kind = Kind::kUint32,
             .help = "Maximum concurrent streams that each client can open at a time.",
             .unsigned_number = UINT32_MAX});
}

}  // namespace

GrpcProxyCommand read_grpc_proxy_command(const std::vector<std::string>& args) {
  CobraCommand root("etcd", "etcd server");
  CobraCommand& proxy = root.add("grpc-proxy <subcommand>", "grpc-proxy related command");
  CobraCommand& start = proxy.add("start", "start the grpc proxy");
  start.runnable = true;
  add_flags(start.flags);

  const CobraOutcome o = root.read({args.begin() + 1, args.end()});
  if (o.command == nullptr) return {std::nullopt, {o.out, o.err + o.error, o.error.empty() ? 0 : 1}};
  const CobraFlags& f = o.command->flags;
  const auto text = [&](const char* name) { return f.at(name).text; };
  const auto on = [&](const char* name) { return f.at(name).boolean; };
  const auto ns = [&](const char* name) { return f.at(name).duration_ns; };
  GrpcProxyOptions p;
  p.listen_addr = text("listen-addr");
  p.metrics_addr = text("metrics-addr");
  p.advertise_client_url = text("advertise-client-url");
  p.resolver_prefix = text("resolver-prefix");
  p.resolver_ttl_s = f.at("resolver-ttl").number;
  p.name_space = text("namespace");
  p.data_dir = text("data-dir");
  p.discovery_srv = text("discovery-srv");
  p.discovery_srv_name = text("discovery-srv-name");
  p.insecure_discovery = on("insecure-discovery");
  p.endpoints = f.at("endpoints").list;
  p.auto_sync_ns = ns("endpoints-auto-sync-interval");
  p.dial_keepalive_time_ns = ns("dial-keepalive-time");
  p.dial_keepalive_timeout_ns = ns("dial-keepalive-timeout");
  p.permit_without_stream = on("permit-without-stream");
  p.max_send_bytes = f.at("max-send-bytes").number;
  p.max_recv_bytes = f.at("max-recv-bytes").number;
  p.keepalive_min_time_ns = ns("grpc-keepalive-min-time");
  p.keepalive_interval_ns = ns("grpc-keepalive-interval");
  p.keepalive_timeout_ns = ns("grpc-keepalive-timeout");
  p.max_concurrent_streams = static_cast<uint32_t>(f.at("max-concurrent-streams").unsigned_number);
  p.members.client_cert_file = p.members.cert_file = text("cert");
  p.members.client_key_file = p.members.key_file = text("key");
  p.members.trusted_ca_file = text("cacert");
  p.members.insecure_skip_verify = on("insecure-skip-tls-verify");
  p.to_members = !p.members.empty() || !p.members.trusted_ca_file.empty() || p.members.insecure_skip_verify;
  p.clients.cert_file = text("cert-file");
  p.clients.key_file = text("key-file");
  p.clients.trusted_ca_file = text("trusted-ca-file");
  p.clients.crl_file = text("client-crl-file");
  p.auto_tls = on("auto-tls");
  p.self_signed_years = f.at("self-signed-cert-validity").unsigned_number;
  p.cipher_suites = f.at("listen-cipher-suites").list;
  p.tls_min_version = text("tls-min-version");
  p.tls_max_version = text("tls-max-version");
  p.debug = on("debug");
  if (on("enable-pprof")) p.not_served = "enable-pprof";
  if (on("experimental-enable-grpc-logging")) p.not_served = "experimental-enable-grpc-logging";
  if (on("experimental-serializable-ordering")) p.not_served = "experimental-serializable-ordering";
  if (!text("experimental-leasing-prefix").empty()) p.not_served = "experimental-leasing-prefix";
  return {std::move(p), {}};
}

std::optional<GatewayEnd> check_grpc_proxy_options(GrpcProxyOptions& o) {
  if (!o.resolver_prefix.empty() && o.resolver_ttl_s < 1) {
    return refusal(fmt::format("invalid resolver-ttl {}", o.resolver_ttl_s));
  }
  if (o.resolver_prefix.empty() && o.resolver_ttl_s > 0) {
    return refusal(fmt::format("invalid resolver-prefix {}", go_quote(o.resolver_prefix)));
  }
  if (!o.resolver_prefix.empty() && o.resolver_ttl_s > 0 && o.advertise_client_url.empty()) {
    return refusal(fmt::format("invalid advertise-client-url {}", go_quote(o.advertise_client_url)));
  }
  if (o.auto_tls && o.self_signed_years == 0) {
    return refusal("selfSignedCertValidity is invalid,it should be greater than 0");
  }
  const auto min = tls::parse_version(o.tls_min_version);
  if (!min) return refusal(fmt::format("tls-min-version is invalid: {}", min.error().text()));
  const auto max = tls::parse_version(o.tls_max_version);
  if (!max) return refusal(fmt::format("tls-max-version is invalid: {}", max.error().text()));
  if (*max != tls::Version::kDefault && *min > *max) {
    return refusal(fmt::format("min version ({}) is greater than max version ({})", o.tls_min_version,
                               o.tls_max_version));
  }
  if (*min == tls::Version::kTls13 && !o.cipher_suites.empty()) {
    return refusal("cipher suites cannot be configured when only TLS1.3 is enabled");
  }
  if (!o.not_served.empty()) {
    return refusal(fmt::format("--{} is not served by this grpc-proxy", o.not_served));
  }
  o.clients.min_version = *min;
  o.clients.max_version = *max;
  return std::nullopt;
}

}  // namespace quoin::cmd
