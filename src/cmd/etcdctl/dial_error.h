// Why nobody can connect to an endpoint, in the words of Go's net package.
//
// grpc++ does not tell why a channel is not connected. So one connection is tried, and closed, once a call has failed.
#pragma once
#include <functional>
#include <string>

#include "cmd/etcdctl/endpoint.h"

namespace quoin::ctl {

// "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"; empty if a connection is possible.
// `handshake`, if it is not empty, is called with the socket of a connection and tells what else is wrong. Waits 100 ms at
// most, and as long as the machine's resolver takes for a name.
std::string dial_error(const Endpoint& endpoint, const std::function<std::string(int)>& handshake = {});

}  // namespace quoin::ctl
