// --initial-cluster: its grammar, and what a member without data asks of it (spec operations 2.2).
#include <algorithm>

#include "cmd/etcd/config.h"
#include "cmd/etcd/config_url.h"
#include "cmd/etcd/flags_text.h"

namespace quoin::cmd {
namespace {

std::string quoted(const std::vector<std::string>& list) {
  std::vector<std::string> q;
  for (const std::string& s : list) q.push_back(go_quote(s));
  return "[" + join(q, " ") + "]";
}

std::string named(const std::string& name, const std::vector<std::string>& urls) {
  std::vector<std::string> out;
  for (const std::string& u : urls) out.push_back(name + "=" + u);
  return join(out, ",");
}

std::vector<std::string> without(const std::vector<std::string>& from, const std::vector<std::string>& what) {
  std::vector<std::string> out;
  for (const std::string& s : from) {
    if (std::find(what.begin(), what.end(), s) == what.end()) out.push_back(s);
  }
  return out;
}

Result<> compare_advertised(const std::string& name, const std::vector<std::string>& listed,
                            const std::vector<std::string>& advertised) {
  if (listed == advertised) return {};
  if (const auto missing = without(listed, advertised); !missing.empty()) {
    std::string reason = fmt::format("len({}) != len({})", quoted(advertised), quoted(listed));
    if (listed.size() == advertised.size()) {
      const auto [a, l] = std::mismatch(advertised.begin(), advertised.end(), listed.begin());
      reason = fmt::format("resolved urls: {} != {}", go_quote(*a), go_quote(*l));
    }
    return make_error(Code::kInvalidArgument,
                      "--initial-cluster has {} but missing from --initial-advertise-peer-urls={} ({})",
                      named(name, missing), join(advertised, ","), reason);
  }
  return make_error(Code::kInvalidArgument,
                    "--initial-advertise-peer-urls has {} but missing from --initial-cluster={}",
                    join(without(advertised, listed), ","), named(name, advertised));
}

}  // namespace

Result<std::map<std::string, std::vector<std::string>>> Config::initial_members() const {
  std::map<std::string, std::string> lists;
  for (const std::string& item : split(initial_cluster, ',')) {
    if (item.empty()) continue;
    const size_t equals = item.find('=');
    std::string& list = lists[item.substr(0, equals)];
    if (!list.empty()) list += ',';
    if (equals != std::string::npos) list += item.substr(equals + 1);
  }
  std::map<std::string, std::vector<std::string>> out;
  for (const auto& [member, list] : lists) {
    auto urls = parse_urls(list);
    if (!urls) return urls.error().prefixed("error setting up initial cluster");
    out[member] = texts(*urls);
  }
  return out;
}

Result<> Config::check_bootstrap() const {
  ASSIGN_OR_RETURN(const auto members, initial_members());
  const auto own = members.find(server.name);
  if (own == members.end()) {
    return make_error(Code::kInvalidArgument,
                      "couldn't find local name {} in the initial cluster configuration",
                      go_quote(server.name));
  }
  if (server.new_cluster)
    TRY(compare_advertised(server.name, own->second, texts(initial_advertise_peer_urls)));
  std::vector<std::string> all, entries;
  for (const auto& [member, urls] : members) {
    all.insert(all.end(), urls.begin(), urls.end());
    entries.push_back(named(member, urls));
  }
  std::sort(all.begin(), all.end());
  if (std::adjacent_find(all.begin(), all.end()) != all.end()) {
    return make_error(Code::kInvalidArgument, "initial cluster {} has duplicate url", join(entries, ","));
  }
  return {};
}

}  // namespace quoin::cmd
