// The grammar of --initial-cluster (spec operations 2.2).
#include "cmd/etcd/config.h"
#include "cmd/etcd/config_url.h"
#include "cmd/etcd/flags_text.h"

namespace quoin::cmd {

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

}  // namespace quoin::cmd
