// The tree of etcd-benchmark's commands and their flags, with etcd's defaults and texts.
//
// Threads: none. Source: etcd's tools/benchmark/cmd.
#pragma once
#include <memory>
#include <string>

#include "cmd/cobra/command.h"

namespace quoin::cmd::bench {

// `program`: its name in texts.
std::unique_ptr<CobraCommand> make_commands(const std::string& program);

}  // namespace quoin::cmd::bench
