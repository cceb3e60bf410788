// Ids of members and clusters, peer URLs, and the founding of a cluster from flags.
// Source: spec raft-and-peers 26, 29; operations 1.8 (URL syntax), 2.2.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "membership/membership.h"

namespace quoin::membership {

// First 8 bytes of SHA-1 over the URLs, which need not be sorted, the token and, for members added to a
// running cluster, the second they are added in (with an empty token).
MemberId member_id(std::vector<std::string> peer_urls, std::string_view token,
                   std::optional<int64_t> unix_seconds = std::nullopt);
ClusterId cluster_id(std::vector<MemberId> founders);

// One URL as Go reads and prints it. kInvalidArgument with etcd's text.
Result<std::string> parse_url(std::string_view text);
// A list of at least one URL: trimmed, parsed, sorted.
Result<std::vector<std::string>> parse_urls(std::span<const std::string> texts);

// --initial-cluster: name to sorted URLs. kInvalidArgument with the text of the URL check.
using InitialCluster = std::map<std::string, std::vector<std::string>>;
Result<InitialCluster> parse_initial_cluster(std::string_view flag);
// "name=url,name=url", sorted by name, as texts show it.
std::string initial_cluster_text(const InitialCluster& cluster);
// kInvalidArgument unless the own name is among the members and no URL is given twice.
Result<> check_initial_cluster(const InitialCluster& cluster, std::string_view own_name);

// The founders and their ids; kInvalidArgument if an id is 0 or given twice.
Result<Membership> found_cluster(const InitialCluster& cluster, std::string_view token,
                                 std::string_view own_name);

// Joining: the local flags' members take over the ids of the members the cluster has, matched by their URLs.
// `same_urls` compares two lists (resolving host names); where they differ, its error is put into the text. The
// flags' members are tried in the order of the ids that they would found a cluster with. The result has the
// cluster's members, named as the flags have them, and local_id.
using SameUrls = std::function<Result<>(const std::vector<std::string>&, const std::vector<std::string>&)>;
Result<Membership> join_cluster(const InitialCluster& flags, std::string_view token,
                                std::string_view own_name, ClusterId remote_id,
                                const std::vector<Member>& existing, const SameUrls& same_urls);

}  // namespace quoin::membership
