// From a read command line to running loggers: the early lines, then the configured sink.
#pragma once
#include <memory>

#include "cmd/etcd/config.h"
#include "posix/log_sink.h"

namespace quoin::cmd {

struct Logging {
  // The configured logger; null if the process is to exit.
  std::unique_ptr<posix::LogSink> sink;
  int exit_code = 0;
};

// Writes what the reading wants written: command.out and command.err, early lines by etcd's default logger
// (JSON on standard error), the others by the configured one. Failing to open an output is reported like any
// bad option. If sink is null the process exits with exit_code.
Logging start_logging(const Command& command);

posix::LogSinkOptions log_sink_options(const LogConfig& config);

}  // namespace quoin::cmd
