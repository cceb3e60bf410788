#include "server/remote_cluster.h"

#include <algorithm>

#include "base/coding.h"

namespace quoin::server {

namespace {

constexpr int64_t kMembersNs = 10 * io::kSecond;
constexpr int64_t kBootstrappedNs =
    io::kSecond;  // is asked at each founding, mostly of members that do not run yet

struct RemoteCluster {
  ClusterId id;
  std::vector<membership::Member> members;
};

// From the first URL that answers.
Result<RemoteCluster> fetch_members(const std::vector<std::string>& urls, int64_t timeout_ns, bool tell,
                                    Peers& peers, log::Logger& log) {
  const auto warn = [&](std::string_view what, const std::string& address, const Error& error) {
    if (tell) LOG(log, kWarn, what, {"address", address}, {"error", error.text()});
  };
  for (const std::string& url : urls) {
    const std::string address = url + "/members";
    PeerRequest request;
    request.path = "/members";
    request.timeout_ns = timeout_ns;
    const auto answer = peers.fetch_now(url, std::move(request));
    if (!answer) {
      warn("failed to get cluster response", address, answer.error());
      continue;
    }
    auto members = membership::parse_members(answer->body);
    if (!members) {
      warn("failed to unmarshal cluster response", address, members.error());
      continue;
    }
    const std::string header(answer->field("X-Etcd-Cluster-ID").value_or(""));
    uint64_t id = 0;
    if (!parse_hex(header, &id)) {
      if (tell) {
        LOG(log, kWarn, "failed to parse cluster ID", {"address", address}, {"header", header},
            {"error", fmt::format("strconv.ParseUint: parsing \"{}\": invalid syntax", header)});
      }
      continue;
    }
    if (members->empty()) {
      return Error(Code::kInvalidArgument, "failed to get raft cluster member(s) from the given URLs");
    }
    return RemoteCluster{ClusterId(id), std::move(*members)};
  }
  return Error(Code::kInvalidArgument, "could not retrieve cluster information from the given URLs");
}

std::vector<std::string> urls_of_others(const membership::InitialCluster& flags, std::string_view own_name) {
  std::vector<std::string> urls;
  for (const auto& [name, list] : flags) {
    if (name != own_name) urls.insert(urls.end(), list.begin(), list.end());
  }
  std::sort(urls.begin(), urls.end());
  return urls;
}

// As Go prints the cluster in its error.
std::string cluster_text(const RemoteCluster& cluster) {
  std::string members;
  for (const membership::Member& m : cluster.members) {
    if (!members.empty()) members += ' ';
    members += fmt::format(
        "&{{ID:{} RaftAttributes:{{PeerURLs:[{}] IsLearner:{}}} Attributes:{{Name:{} ClientURLs:[{}]}}}}",
        hex(m.id.v), fmt::join(m.peer_urls, " "), m.is_learner, m.name, fmt::join(m.client_urls, " "));
  }
  return fmt::format("{{ClusterID:{} Members:[{}] RemovedMemberIDs:[]}}", hex(cluster.id.v), members);
}

// The first of the member's URLs that answers with a version.
std::optional<membership::Versions> fetch_versions(const membership::Member& m, int64_t timeout_ns,
                                                   Peers& peers, log::Logger& log) {
  std::optional<Error> last;
  for (const std::string& url : m.peer_urls) {
    PeerRequest request;
    request.path = "/version";
    request.timeout_ns = timeout_ns;
    const auto answer = peers.fetch_now(url, std::move(request));
    const auto versions =
        answer ? membership::parse_versions(answer->body) : Result<membership::Versions>(answer.error());
    if (versions) return *versions;
    last = versions.error();
    LOG(log, kWarn, answer ? "failed to unmarshal response" : "failed to reach the peer URL",
        {"address", url + "/version"}, {"remote-member-id", log::Hex{m.id.v}}, {"error", last->text()});
  }
  LOG(log, kWarn, "failed to get version", {"remote-member-id", log::Hex{m.id.v}},
      {"error", last ? last->text() : std::string()});
  return std::nullopt;
}

// The first member that answers knows: what it says is linearizable.
bool downgrade_enabled(const membership::Membership& cluster, int64_t timeout_ns, Peers& peers,
                       log::Logger& log) {
  for (const membership::Member& m : cluster.list()) {
    if (m.id == cluster.local_id) continue;
    Error error(Code::kNotFound, "no URL");
    for (const std::string& url : m.peer_urls) {
      PeerRequest request;
      request.path = "/downgrade/enabled";
      request.timeout_ns = timeout_ns;
      const auto answer = peers.fetch_now(url, std::move(request));
      if (answer && answer->body == "true") return true;
      if (answer && answer->body == "false") return false;
      error = answer ? Error(Code::kMalformed,
                             fmt::format("strconv.ParseBool: parsing \"{}\": invalid syntax", answer->body))
                     : answer.error();
    }
    LOG(log, kWarn, "failed to get downgrade enabled status", {"remote-member-id", log::Hex{m.id.v}},
        {"error", error.text()});
  }
  return false;
}

// At least one other member tells a version that this server can serve, and none tells another one.
bool compatible(const membership::Membership& cluster, int64_t timeout_ns, Peers& peers, log::Logger& log) {
  const bool downgrading = downgrade_enabled(cluster, timeout_ns, peers, log);
  membership::Version highest{membership::own_version().major, membership::own_version().minor, 0};
  if (downgrading) ++highest.minor;
  const membership::Version lowest = downgrading ? highest : membership::kClusterVersionMin;
  bool any = false;
  for (const membership::Member& m : cluster.list()) {
    if (m.id == cluster.local_id) continue;
    const auto versions = fetch_versions(m, timeout_ns, peers, log);
    if (!versions) continue;
    const auto version = membership::parse_version(versions->cluster);
    if (!version) {
      LOG(log, kWarn, "failed to parse cluster version of remote member",
          {"remote-member-id", log::Hex{m.id.v}}, {"remote-member-cluster-version", versions->cluster},
          {"error", fmt::format("{} is not in dotted-tri format", versions->cluster)});
      continue;
    }
    switch (membership::check_compatible(membership::own_version(), *version, downgrading)) {
      case membership::Compatibility::kTooLow:
        LOG(log, kWarn, "cluster version of remote member is not compatible; too low",
            {"remote-member-id", log::Hex{m.id.v}}, {"remote-member-cluster-version", version->text()},
            {"minimum-cluster-version-supported", lowest.text()});
        return false;
      case membership::Compatibility::kTooHigh:
        LOG(log, kWarn, "cluster version of remote member is not compatible; too high",
            {"remote-member-id", log::Hex{m.id.v}}, {"remote-member-cluster-version", version->text()},
            {"maximum-cluster-version-supported", highest.text()});
        return false;
      case membership::Compatibility::kCompatible:
        any = true;
    }
  }
  return any;
}

}  // namespace

Result<> check_not_bootstrapped(const membership::Membership& founders, std::string_view own_name,
                                Peers& peers, log::Logger& log) {
  std::vector<std::string> urls;
  for (const membership::Member& m : founders.list()) {
    if (m.name != own_name) urls.insert(urls.end(), m.peer_urls.begin(), m.peer_urls.end());
  }
  std::sort(urls.begin(), urls.end());
  if (urls.empty()) return {};
  const auto remote = fetch_members(urls, kBootstrappedNs, /*tell=*/false, peers, log);
  if (!remote) return {};
  for (const membership::Member& m : remote->members) {
    if (m.id == founders.local_id && !m.client_urls.empty()) {
      return make_error(Code::kInvalidArgument, "member {} has already been bootstrapped",
                        hex(founders.local_id.v));
    }
  }
  return {};
}

Result<membership::Membership> join_running_cluster(const membership::InitialCluster& flags,
                                                    const Config& config, Peers& peers, UrlComparer& comparer,
                                                    log::Logger& log) {
  auto remote = fetch_members(urls_of_others(flags, config.name), kMembersNs, /*tell=*/true, peers, log);
  if (!remote) return remote.error().prefixed("cannot fetch cluster info from peer urls");
  std::ranges::sort(remote->members, {}, &membership::Member::id);
  auto joined =
      membership::join_cluster(flags, config.initial_cluster_token, config.name, remote->id, remote->members,
                               [&](const std::vector<std::string>& a, const std::vector<std::string>& b) {
                                 return comparer.same(a, b);
                               });
  if (!joined) {
    return joined.error().prefixed(fmt::format("error validating peerURLs {}", cluster_text(*remote)));
  }
  if (!compatible(*joined, config.request_timeout_ns(), peers, log)) {
    return Error(Code::kInvalidArgument, "incompatible with current running cluster");
  }
  if (static_cast<int64_t>(joined->learners().size()) > config.max_learners) {
    return Error(Code::kInvalidArgument, "membership: too many learner members in cluster");
  }
  return joined;
}

}  // namespace quoin::server
