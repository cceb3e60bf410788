// Telling the init daemon that the member is ready: READY=1 to the socket it named (spec operations 2.1 step
// 14). Blocking, but a datagram to a local socket.
#pragma once
#include <string>

#include "base/log.h"
#include "base/result.h"

namespace quoin::cmd {

// `path`: NOTIFY_SOCKET's value, with '@' in front for an abstract name. kIo with the system's words.
Result<> send_ready(const std::string& path);

// The same with etcd's lines; an empty path counts as told.
void notify_init(const std::string& path, log::Logger& log);

}  // namespace quoin::cmd
