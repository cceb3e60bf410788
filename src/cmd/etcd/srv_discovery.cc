#include "cmd/etcd/srv_discovery.h"

#include <map>

#include "cmd/etcd/config_url.h"
#include "cmd/etcd/flags_text.h"
#include "io/clock.h"

namespace quoin::cmd {
namespace {

constexpr int64_t kLookupNs = 10 * io::kSecond;  // as long as Go asks one silent server

// Go's net.ResolveTCPAddr: the first IPv4 address, else the first one.
Result<std::string> resolve_tcp(const std::string& host_port, io::Resolver& resolver) {
  ASSIGN_OR_RETURN(const auto parts, split_host_port(host_port));
  const auto& [host, port] = parts;
  const std::string digits = port.empty() ? "0" : port;
  if (!Url{"http", "h:" + digits, ""}.port_number()) {
    return make_error(Code::kInvalidArgument, "address {}: invalid port", port);
  }
  if (host.empty()) return ":" + digits;
  ASSIGN_OR_RETURN(const auto found, resolver.lookup_host(host, kLookupNs));
  for (const std::string& address : found) {
    if (address.find(':') == std::string::npos) return address + ":" + digits;
  }
  if (found.empty()) return make_error(Code::kNotFound, "lookup {}: no such host", host);
  return "[" + found.front() + "]:" + digits;
}

// "name=scheme://host:port" for each record of one service.
Result<std::vector<std::string>> members_of(const std::string& scheme, const std::string& service,
                                            const Config& config, io::Resolver& resolver) {
  std::map<std::string, Url> own;  // by address
  for (const Url& url : config.initial_advertise_peer_urls) {
    ASSIGN_OR_RETURN(std::string address, resolve_tcp(url.host, resolver));
    own[std::move(address)] = url;
  }
  const auto failed = [&](const Error& error) {
    return make_error(error.code(), "error querying DNS SRV records for _{} {}", service, error.text());
  };
  const auto records =
      resolver.lookup_srv(fmt::format("_{}._tcp.{}", service, config.discovery_srv), kLookupNs);
  if (!records) return failed(records.error());
  std::vector<std::string> members;
  std::optional<Error> last;  // matters only if nothing is found
  int number = 0;
  for (const io::SrvRecord& record : *records) {
    const auto address = resolve_tcp(fmt::format("{}:{}", record.target, record.port), resolver);
    if (!address) {
      last = address.error();
      continue;
    }
    std::string target = record.target;
    if (target.ends_with('.')) target.pop_back();
    const std::string url = fmt::format("{}://{}:{}", scheme, target, record.port);
    const auto mine = own.find(*address);
    std::string name = mine != own.end() ? config.server.name : "";
    if (name.empty()) name = std::to_string(number++);
    if (mine != own.end() && mine->second.scheme != scheme) {
      last = make_error(Code::kInvalidArgument,
                        "bootstrap at {} from DNS for {} has scheme mismatch with expected peer {}", url,
                        service, mine->second.text());
      continue;
    }
    members.push_back(name + "=" + url);
  }
  if (members.empty() && last) return failed(*last);
  return members;
}

}  // namespace

Result<std::string> discover_by_srv(const Config& config, io::Resolver& resolver, log::Logger& log) {
  const std::string suffix = config.discovery_srv_name.empty() ? "" : "-" + config.discovery_srv_name;
  const std::vector<std::string> advertised = texts(config.initial_advertise_peer_urls);
  std::vector<std::string> members;
  std::string errors;
  for (const auto& [scheme, service] : {std::pair{"https", "etcd-server-ssl"}, {"http", "etcd-server"}}) {
    const auto found = members_of(scheme, service + suffix, config, resolver);
    if (found) members.insert(members.end(), found->begin(), found->end());
    const std::string name = service + suffix, message = fmt::format("get cluster for {} SRV", service);
    const log::Field scheme_field{"service-scheme", scheme}, name_field{"service-name", name},
        server_field{"server-name", config.server.name}, domain_field{"discovery-srv", config.discovery_srv},
        advertised_field{"advertise-peer-urls", advertised}, found_field{"found-cluster", members};
    if (found) {
      LOG(log, kInfo, message, scheme_field, name_field, server_field, domain_field, advertised_field,
          found_field);
    } else {
      const std::string_view why = found.error().text();
      errors.append(errors.empty() ? "" : "\n").append(why);
      LOG(log, kInfo, message, scheme_field, name_field, server_field, domain_field, advertised_field,
          found_field, {"error", why});
    }
  }
  if (!errors.empty()) LOG(log, kWarn, "failed to resolve during SRV discovery", {"error", errors});
  const auto failed = [](std::string_view why) {
    return make_error(Code::kInvalidArgument, "error setting up initial cluster: {}", why);
  };
  if (members.empty()) return failed(errors);
  for (const std::string& member : members) {
    LOG(log, kInfo, "got bootstrap from DNS for etcd-server", {"node", member});
  }
  Config with = config;
  with.initial_cluster = join(members, ",");
  const auto parsed = with.initial_members();
  if (!parsed || !parsed->contains(config.server.name)) {
    return failed(
        fmt::format("cannot find local etcd member {} in SRV records", go_quote(config.server.name)));
  }
  return with.initial_cluster;
}

}  // namespace quoin::cmd
