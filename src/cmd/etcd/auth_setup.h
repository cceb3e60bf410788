// --auth-token, --auth-token-ttl, --bcrypt-cost and --client-cert-auth as the member's own configuration.
//
// Threads: start-up; reads the key files. Errors: etcd's ("auth: invalid auth options", ...), after its line in the
// log.
#pragma once
#include "base/log.h"
#include "base/result.h"
#include "cmd/etcd/config.h"

namespace quoin::cmd {

Result<> set_up_auth(const Config& config, log::Logger& log, server::Config* out);

}  // namespace quoin::cmd
