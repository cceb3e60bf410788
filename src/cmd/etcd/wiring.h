// The program's configuration as the front's, the peer transport's and the metrics page's. The member's is a part of it
// (Config::server).
//
// Pure functions.
#pragma once
#include "cmd/etcd/config.h"
#include "front/front.h"
#include "httpapi/constant_metrics.h"
#include "peer/options.h"

namespace quoin::cmd {

front::Options front_options(const Config& c);
peer::Options peer_options(const Config& c);
httpapi::ConstantMetrics constant_metrics(const Config& c);

}  // namespace quoin::cmd
