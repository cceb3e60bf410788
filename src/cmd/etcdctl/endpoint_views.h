// How endpoint health, status and hashkv are shown.
//
// Threads: none. Lifetime: the forms refer to what they are made of.
// Source: etcdctl/ctlv3/command/printer.go (makeEndpointStatusTable and its like).
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "cmd/etcdctl/printer.h"

namespace quoin::ctl {

struct EndpointHealth {
  std::string endpoint;
  bool healthy = false;
  std::string took;   // empty: there was no client
  std::string error;  // empty: healthy
};

Forms health_forms(const std::vector<EndpointHealth>& all);
Forms status_forms(const std::vector<std::pair<std::string, pb::StatusResponse>>& all);
Forms hashkv_forms(const std::vector<std::pair<std::string, pb::HashKVResponse>>& all);

}  // namespace quoin::ctl
