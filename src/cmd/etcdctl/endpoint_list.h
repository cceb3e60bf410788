// Which endpoints a command asks one by one (endpoint, defrag).
//
// Threads: of the main thread. Source: etcdctl/ctlv3/command/ep_command.go (endpointsFromCluster).
#pragma once
#include <string>
#include <vector>

#include "cmd/etcdctl/session.h"

namespace quoin::ctl {

// --endpoints as they were written; with --cluster what all members advertise to clients.
Or<std::vector<std::string>> endpoints_of(Session& session);

}  // namespace quoin::ctl
