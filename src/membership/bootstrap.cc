#include "membership/bootstrap.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/evp.h>

#include <algorithm>
#include <set>

#include "base/check.h"
#include "base/coding.h"
#include "membership/go_url.h"

namespace quoin::membership {
namespace {
uint64_t sha1_head(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  CHECK_EQ(EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha1(), nullptr), 1);
  CHECK_EQ(size, 20u);
  return load_be64(digest);
}
}  // namespace

MemberId member_id(std::vector<std::string> peer_urls, std::string_view token,
                   std::optional<int64_t> unix_seconds) {
  std::sort(peer_urls.begin(), peer_urls.end());
  std::string text;
  for (const auto& url : peer_urls) text += url;
  text += token;
  if (unix_seconds) text += std::to_string(*unix_seconds);
  return MemberId(sha1_head(text));
}

ClusterId cluster_id(std::vector<MemberId> founders) {
  std::sort(founders.begin(), founders.end());
  std::string text;
  for (const MemberId id : founders) text += be64(id.v);
  return ClusterId(sha1_head(text));
}

Result<std::string> parse_url(std::string_view text) {
  ASSIGN_OR_RETURN(const GoUrl url, parse_member_url(text));
  return url.text();
}

Result<std::vector<std::string>> parse_urls(std::span<const std::string> texts) {
  if (texts.empty()) return make_error(Code::kInvalidArgument, "no valid URLs given");
  std::vector<std::string> urls;
  for (const auto& text : texts) {
    ASSIGN_OR_RETURN(std::string url, parse_url(text));
    urls.push_back(std::move(url));
  }
  std::sort(urls.begin(), urls.end());
  return urls;
}

Result<InitialCluster> parse_initial_cluster(std::string_view flag) {
  InitialCluster cluster;
  for (size_t at = 0; at <= flag.size();) {
    const size_t comma = std::min(flag.find(',', at), flag.size());
    const std::string_view item = flag.substr(at, comma - at);
    at = comma + 1;
    if (item.empty()) continue;
    const size_t equals = item.find('=');
    const std::string_view url = equals == item.npos ? std::string_view() : item.substr(equals + 1);
    cluster[std::string(item.substr(0, equals))].emplace_back(url);
  }
  for (auto& [name, urls] : cluster) {
    ASSIGN_OR_RETURN(urls, parse_urls(urls));
  }
  return cluster;
}

std::string initial_cluster_text(const InitialCluster& cluster) {
  std::vector<std::string> items;
  for (const auto& [name, urls] : cluster) {
    for (const auto& url : urls) items.push_back(name + "=" + url);
  }
  std::sort(items.begin(), items.end());
  return fmt::format("{}", fmt::join(items, ","));
}

Result<> check_initial_cluster(const InitialCluster& cluster, std::string_view own_name) {
  if (!cluster.contains(std::string(own_name))) {
    return make_error(Code::kInvalidArgument,
                      "couldn't find local name \"{}\" in the initial cluster configuration", own_name);
  }
  std::set<std::string_view> seen;
  for (const auto& [name, urls] : cluster) {
    for (const auto& url : urls) {
      if (!seen.insert(url).second) {
        return make_error(Code::kInvalidArgument, "initial cluster {} has duplicate url",
                          initial_cluster_text(cluster));
      }
    }
  }
  return {};
}

Result<Membership> found_cluster(const InitialCluster& cluster, std::string_view token,
                                 std::string_view own_name) {
  Membership m;
  std::vector<MemberId> ids;
  for (const auto& [name, urls] : cluster) {
    Member member;
    member.id = member_id(urls, token);
    member.peer_urls = urls;
    member.name = name;
    if (!member.id) return make_error(Code::kInvalidArgument, "cannot use {} as member id", hex(member.id.v));
    if (m.members.contains(member.id)) {
      return make_error(Code::kInvalidArgument, "member exists with identical ID {}", hex(member.id.v));
    }
    if (name == own_name) m.local_id = member.id;
    ids.push_back(member.id);
    m.members.emplace(member.id, std::move(member));
  }
  m.cluster_id = cluster_id(std::move(ids));
  return m;
}

Result<Membership> join_cluster(const InitialCluster& flags, std::string_view token,
                                std::string_view own_name, ClusterId remote_id,
                                const std::vector<Member>& existing, const SameUrls& same_urls) {
  if (existing.size() != flags.size()) return make_error(Code::kInvalidArgument, "member count is unequal");
  Membership m;
  m.cluster_id = remote_id;
  std::vector<std::pair<MemberId, const InitialCluster::value_type*>> candidates;
  for (const auto& flag : flags) candidates.emplace_back(member_id(flag.second, token), &flag);
  std::ranges::stable_sort(candidates, {}, [](const auto& c) { return c.first; });
  for (const Member& e : existing) {
    std::string last_error = "%!w(<nil>)";  // what Go prints where there was none
    const std::string* name = nullptr;
    for (const auto& [id, flag] : candidates) {
      const Result<> same = same_urls(e.peer_urls, flag->second);
      if (same) {
        name = &flag->first;
        break;
      }
      last_error = same.error().text();
    }
    if (name == nullptr) {
      return make_error(Code::kInvalidArgument,
                        "PeerURLs: no match found for existing member ({}, [{}]), last resolver error ({})",
                        hex(e.id.v), fmt::join(e.peer_urls, " "), last_error);
    }
    Member member = e;
    member.name = *name;
    if (*name == own_name) m.local_id = e.id;
    if (!m.members.emplace(e.id, std::move(member)).second) {
      return make_error(Code::kInvalidArgument, "member exists with identical ID {}", hex(e.id.v));
    }
  }
  return m;
}

}  // namespace quoin::membership
