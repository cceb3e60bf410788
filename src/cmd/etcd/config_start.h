// The line with which etcd tells its effective configuration (spec operations 2.1, step 8).
#pragma once
#include "base/log.h"
#include "cmd/etcd/config.h"

namespace quoin::cmd {

// Logs "starting an etcd server". `member_initialized`: a WAL exists, so that initial-cluster and its token
// are not looked at (and shown empty).
void log_starting(const Config& config, bool member_initialized, int cpus, log::Logger& logger);

}  // namespace quoin::cmd
