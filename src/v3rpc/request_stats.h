// The line `request stats` about one unary call: a warning for one that took longer than
// --warning-unary-request-duration, at debug level for every one while that level is on.
//
// Threads: any. Source: spec operations 7.2.
#pragma once
#include <string_view>

#include "base/log.h"
#include "grpc/call.h"

namespace quoin::v3rpc {

// What the services leave in Call::context for this line: kNotHandled until the call was let in; then the
// number that the answer reports (count of a Range, deleted of a DeleteRange, 1 for a Txn that took its
// success branch).
inline constexpr uint64_t kNotHandled = UINT64_MAX;

// `response_bytes` is 0 for a call without an answer.
void log_request_stats(log::Logger& log, log::Level level, const grpc::Call& call, std::string_view request,
                       size_t response_bytes, io::WallNs start, int64_t took_ns);

}  // namespace quoin::v3rpc
