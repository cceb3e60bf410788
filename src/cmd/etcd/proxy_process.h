// What the processes of `etcd gateway` and `etcd grpc-proxy` have in common: how they end, and how many clients they take.
//
// Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>

#include "cmd/etcd/tcp_gateway.h"
#include "posix/log_sink.h"

namespace quoin::cmd {

// Says what there is to say, and returns the exit code.
int finish(const GatewayEnd& end);
// The signal kills the process as it kills etcd's, once the last log lines are written, if somebody reads them.
[[noreturn]] void die_with_log(int number, posix::LogSink& log);
// Connections of clients that the limit of descriptors allows, each of which takes so many; at least one.
size_t connections_within_limit(uint64_t descriptors_each);

}  // namespace quoin::cmd
