// The members of a new cluster by DNS SRV records (--discovery-srv, --discovery-srv-name): the records of
// _etcd-server-ssl[-NAME]._tcp.DOMAIN as https URLs, then those of _etcd-server[-NAME]._tcp.DOMAIN as http ones. A
// target whose address is that of an advertised peer URL is this member; the others are named by numbers.
//
// Threads: blocking; start only. Source: spec operations 2.3; etcd's client/pkg/srv and embed/config.go.
#pragma once
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "cmd/etcd/config.h"
#include "io/resolver.h"

namespace quoin::cmd {

// In the form of --initial-cluster. One of the two look-ups may fail. Errors: etcd's texts.
Result<std::string> discover_by_srv(const Config& config, io::Resolver& resolver, log::Logger& log);

}  // namespace quoin::cmd
