// One figure from a member's /metrics page, over http or https.
//
// Threads: none; blocks. Errors: the line that etcdctl prints: "fetch error: ...", "could not find: ...",
// "parse error: ...". Source: etcdctl/ctlv3/command/util.go (endpointMemoryMetrics).
#pragma once
#include <string>
#include <tl/expected.hpp>

#include "cmd/etcdctl/transport.h"

namespace quoin::ctl {

// `endpoint` without a scheme is asked over http. The server's certificate must be signed by tls.ca.
tl::expected<double, std::string> fetch_metric(const std::string& endpoint, const TlsConfig& tls,
                                               const std::string& name);

}  // namespace quoin::ctl
