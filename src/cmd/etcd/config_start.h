// The log lines that show the effective configuration, as etcd writes them (spec operations 2.1, 8.2).
#pragma once
#include <string>

#include "base/ids.h"
#include "base/log.h"
#include "cmd/etcd/config.h"

namespace quoin::cmd {

// Logs "starting an etcd server". `member_initialized`: a WAL exists, so that initial-cluster and its token
// are not looked at (and shown empty).
void log_starting(const Config& config, bool member_initialized, int cpus, log::Logger& logger);

// Where connections to other members come from: the first advertised peer URL whose host is an address that is
// neither a loopback nor unspecified, if the gate SetMemberLocalAddr is on; else empty. Tells what it chose.
std::string infer_local_address(const Config& config, log::Logger& logger);

// A warning about --max-request-bytes above what etcd recommends; before the data is opened.
void log_request_limit(const Config& config, log::Logger& logger);
// Logs the effective quota. Called once there is a store.
void log_quota(const Config& config, log::Logger& logger);
// What a running member does by itself: how it hurries its first election, which files it removes.
// `members`: of the cluster; one alone hurries.
void log_running(const Config& config, MemberId self, size_t members, log::Logger& logger);

// What etcd says about options of TLS beside http URLs, before it listens for peers and for clients.
void warn_of_unused_peer_tls(const Config& config, log::Logger& logger);
void warn_of_unused_client_tls(const Config& config, log::Logger& logger);
// Warns of a bcrypt cost outside the allowed range.
void warn_of_bcrypt_cost(const Config& config, log::Logger& logger);

}  // namespace quoin::cmd
