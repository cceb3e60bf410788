// What a member asks the others before it founds or joins a cluster with them.
//
// Threads: blocking; start only. Errors: etcd's texts. Source: spec raft-and-peers 29, operations 2.2.
#pragma once
#include <string>
#include <vector>

#include "base/log.h"
#include "membership/bootstrap.h"
#include "membership/membership.h"
#include "server/config.h"
#include "server/peers.h"
#include "server/same_urls.h"

namespace quoin::server {

// kInvalidArgument if the others, who may run already, know this founder as a member that has published itself.
Result<> check_not_bootstrapped(const membership::Membership& founders, std::string_view own_name,
                                Peers& peers, log::Logger& log);

// The members of the running cluster that the flags name, with this one among them (spec 29, "Join").
Result<membership::Membership> join_running_cluster(const membership::InitialCluster& flags,
                                                    const Config& config, Peers& peers, UrlComparer& comparer,
                                                    log::Logger& log);

}  // namespace quoin::server
