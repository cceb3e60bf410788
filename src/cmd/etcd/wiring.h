// The program's configuration as the member's, the front's and the metrics page's.
//
// Pure functions.
#pragma once
#include "cmd/etcd/config.h"
#include "front/front.h"
#include "httpapi/constant_metrics.h"
#include "server/config.h"

namespace quoin::cmd {

server::Config server_config(const Config& c);
front::Options front_options(const Config& c);
httpapi::ConstantMetrics constant_metrics(const Config& c);

}  // namespace quoin::cmd
