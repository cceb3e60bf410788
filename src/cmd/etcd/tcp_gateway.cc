#include "cmd/etcd/tcp_gateway.h"

#include <netdb.h>

#include <algorithm>
#include <set>

#include "base/go_text.h"
#include "cmd/cobra/command.h"
#include "cmd/etcd/config_url.h"
#include "cmd/etcd/flags_text.h"
#include "io/clock.h"

namespace quoin::cmd {
namespace {

constexpr int64_t kLookupNs = 10 * io::kSecond;  // as long as Go asks one silent server

GatewayPlanOrEnd ends(std::string out, std::string err = {}) {
  return {std::nullopt, {std::move(out), std::move(err), 1}};
}

// ---- discovery ----

struct Discovered {
  std::vector<std::string> endpoints;  // "https://host.:port"
  std::vector<front::Backend> backends;
};

// Records of both services, those of TLS first. Errors: etcd's, if both fail.
Result<Discovered> look_up_clients(const GatewayOptions& o, io::Resolver& resolver) {
  Discovered out;
  std::vector<std::string> errors;
  for (const auto& [scheme, service] : {std::pair{"https", "etcd-client-ssl"}, {"http", "etcd-client"}}) {
    const std::string suffix = o.discovery_srv_name.empty() ? "" : "-" + o.discovery_srv_name;
    const auto records =
        resolver.lookup_srv(fmt::format("_{}{}._tcp.{}", service, suffix, o.discovery_srv), kLookupNs);
    if (!records) {
      errors.emplace_back(records.error().text());
      continue;
    }
    for (const io::SrvRecord& r : *records) {
      out.backends.push_back({r.target, r.port, r.priority, r.weight});
      out.endpoints.push_back(fmt::format("{}://{}", scheme, out.backends.back().address()));
    }
  }
  if (errors.size() == 2) {
    return make_error(Code::kNotFound, "dns lookup errors: {} and {}", errors[0], errors[1]);
  }
  return out;
}

// Those that speak TLS by their record and can be connected to: that is all etcd asks, although its log lines speak of
// validation. What is wrong with the others stands in `errors`.
std::set<std::string> validate(const Discovered& found, const std::string& trusted_ca_file,
                               const GatewayWorld& world, std::vector<std::string>& errors) {
  if (!trusted_ca_file.empty()) {
    if (const Result<> usable = world.check_trusted(trusted_ca_file); !usable) {
      errors.emplace_back(usable.error().text());
      return {};
    }
  }
  std::set<std::string> good;
  for (size_t i = 0; i < found.endpoints.size(); ++i) {
    const std::string& endpoint = found.endpoints[i];
    if (!endpoint.starts_with("https://")) {
      errors.push_back(fmt::format("{} is insecure", go_quote(endpoint)));
    } else if (const Result<> r = world.dial(found.backends[i].host, found.backends[i].port); !r) {
      errors.push_back(fmt::format("{} failed to dial ({})", go_quote(endpoint), r.error().text()));
    } else {
      good.insert(endpoint);
    }
  }
  return good;
}

Result<Discovered> discover(const GatewayOptions& o, const GatewayWorld& world) {
  if (o.discovery_srv.empty()) return Discovered{};
  ASSIGN_OR_RETURN(Discovered found, look_up_clients(o, world.resolver));
  LOG(world.log, kInfo, "discovered cluster from SRV", {"srv-server", o.discovery_srv},
      {"endpoints", found.endpoints});
  if (o.insecure_discovery) return found;
  LOG(world.log, kInfo, "validating discovered SRV endpoints", {"srv-server", o.discovery_srv},
      {"endpoints", found.endpoints});
  std::vector<std::string> errors;
  const std::set<std::string> good = validate(found, o.trusted_ca_file, world, errors);
  Discovered out;
  for (size_t i = 0; i < found.endpoints.size(); ++i) {
    if (!good.contains(found.endpoints[i])) continue;
    out.endpoints.push_back(found.endpoints[i]);
    out.backends.push_back(found.backends[i]);
  }
  if (errors.empty()) {
    LOG(world.log, kInfo, "using validated discovered SRV endpoints", {"srv-server", o.discovery_srv},
        {"endpoints", out.endpoints});
  } else {
    LOG(world.log, kWarn, "failed to validate discovered endpoints", {"srv-server", o.discovery_srv},
        {"endpoints", out.endpoints}, {"error", join(errors, ",")});
  }
  return out;
}

// ---- addresses ----

std::string without_scheme(const std::string& endpoint) {
  const auto url = membership::parse_go_url(endpoint);
  return url && !url->host.empty() ? url->host : endpoint;
}

// As fmt.Sscanf reads an unsigned number: digits, and whatever behind them; 0 where there are none or it is too large.
uint16_t scan_port(std::string_view text) {
  text = trim_space(text);
  uint32_t n = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') break;
    n = n * 10 + static_cast<uint32_t>(c - '0');
    if (n > UINT16_MAX) return 0;
  }
  return static_cast<uint16_t>(n);
}

// As Go listens: a number or the name of a service, none is 0.
Result<uint16_t> listen_port(const std::string& text) {
  const size_t digits = text.starts_with('+') || text.starts_with('-') ? 1 : 0;
  if (text.find_first_not_of("0123456789", digits) == std::string::npos) {
    const std::string number = text.substr(digits);
    const bool zero = number.find_first_not_of('0') == std::string::npos;
    const uint16_t n = number.size() < 9 ? scan_port(number) : 0;
    if (zero) return uint16_t{0};
    if (n == 0 || text[0] == '-') {
      return make_error(Code::kInvalidArgument, "listen tcp: address {}: invalid port", text);
    }
    return n;
  }
  servent entry, *found = nullptr;
  char buffer[1024];
  if (getservbyname_r(text.c_str(), "tcp", &entry, buffer, sizeof buffer, &found) != 0 || found == nullptr) {
    return make_error(Code::kNotFound, "listen tcp: lookup tcp/{}: unknown port", text);
  }
  return static_cast<uint16_t>(ntohs(static_cast<uint16_t>(found->s_port)));
}

// Go's LookupHost finds nothing for an empty name.
Result<std::vector<std::string>> look_up(const std::string& host, io::Resolver& resolver) {
  if (host.empty()) return Error(Code::kNotFound);
  return resolver.lookup_host(host, kLookupNs);
}

}  // namespace

GatewayCommand read_gateway_command(const std::vector<std::string>& args) {
  using Kind = CobraFlag::Kind;
  CobraCommand root("etcd", "etcd server");
  CobraCommand& gateway = root.add("gateway <subcommand>", "gateway related command");
  CobraCommand& start = gateway.add("start", "start the gateway");
  start.runnable = true;
  start.flags.add({.name = "listen-addr", .help = "listen address", .text = "127.0.0.1:23790"});
  start.flags.add({.name = "discovery-srv", .help = "DNS domain used to bootstrap initial cluster"});
  start.flags.add({.name = "discovery-srv-name", .help = "service name to query when using DNS discovery"});
  start.flags.add({.name = "insecure-discovery", .kind = Kind::kBool, .help = "accept insecure SRV records"});
  start.flags.add({.name = "trusted-ca-file",
                   .help =
                       "path to the client server TLS CA file for verifying the discovered endpoints when "
                       "discovery-srv is provided."});
  start.flags.add({.name = "endpoints",
                   .kind = Kind::kStrings,
                   .help = "comma separated etcd cluster endpoints",
                   .list = {"127.0.0.1:2379"}});
  start.flags.add({.name = "retry-delay",
                   .kind = Kind::kDuration,
                   .help = "duration of delay before retrying failed endpoints",
                   .duration_ns = 60 * io::kSecond});

  const CobraOutcome o = root.read({args.begin() + 1, args.end()});
  if (o.command == nullptr) return {std::nullopt, {o.out, o.err + o.error, o.error.empty() ? 0 : 1}};
  const CobraFlags& f = o.command->flags;
  return {GatewayOptions{.listen_addr = f.at("listen-addr").text,
                         .discovery_srv = f.at("discovery-srv").text,
                         .discovery_srv_name = f.at("discovery-srv-name").text,
                         .insecure_discovery = f.at("insecure-discovery").boolean,
                         .trusted_ca_file = f.at("trusted-ca-file").text,
                         .endpoints = f.at("endpoints").list,
                         .retry_delay_ns = f.at("retry-delay").duration_ns},
          {}};
}

Result<std::vector<std::string>> discover_endpoints(const GatewayOptions& o, const GatewayWorld& world) {
  ASSIGN_OR_RETURN(Discovered found, discover(o, world));
  return std::move(found.endpoints);
}

GatewayPlanOrEnd plan_gateway(const GatewayOptions& o, const GatewayWorld& world) {
  const auto discovered = discover(o, world);
  if (!discovered) return ends("", fmt::format("{}\n", discovered.error().text()));
  GatewayPlan plan{discovered->backends, {}};
  if (plan.backends.empty()) {
    for (const std::string& given : o.endpoints) {
      const std::string endpoint = without_scheme(given);
      const auto parts = split_host_port(endpoint);
      if (!parts) return ends(fmt::format("error parsing endpoint {}", go_quote(endpoint)));
      plan.backends.push_back({parts->first, scan_port(parts->second), 0, 0});
    }
  }

  const auto listen = split_host_port(o.listen_addr);
  if (!listen) return ends(fmt::format("failed to validate listen address: {}\n", o.listen_addr));
  const auto own = look_up(listen->first, world.resolver);
  if (!own) return ends(fmt::format("failed to resolve listen host: {}\n", listen->first));
  for (const front::Backend& b : plan.backends) {
    const auto addresses = look_up(b.host, world.resolver);
    if (!addresses) return ends(fmt::format("failed to resolve endpoint host: {}\n", b.host));
    if (std::to_string(b.port) != listen->second) continue;
    for (const std::string& address : *addresses) {
      if (std::find(own->begin(), own->end(), address) == own->end()) continue;
      return ends(
          fmt::format("SRV or endpoint ({}:{}->{}:{}) should not resolve to the gateway listen addr ({})\n",
                      b.host, b.port, address, b.port, o.listen_addr));
    }
  }
  if (plan.backends.empty()) return ends("no endpoints found\n");

  const auto port = listen_port(listen->second);
  if (!port) return ends("", fmt::format("{}\n", port.error().text()));
  // Of a name the first IPv4 address, as in Go.
  const auto v4 = std::find_if(own->begin(), own->end(),
                               [](const std::string& a) { return a.find(':') == std::string::npos; });
  plan.listen.host = v4 != own->end() ? *v4 : own->front();
  plan.listen.port = *port;
  return {std::move(plan), {}};
}

}  // namespace quoin::cmd
