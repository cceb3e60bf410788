// Runs a command as Go's os/exec does: standard input from /dev/null, output inherited.
//
// Threads: any. Source: Go's os/exec.
#pragma once
#include <string>
#include <vector>

namespace quoin::ctl {

struct ChildEnd {
  // The command's exit status; -1 if a signal ended it, 1 if it could not be started.
  int status = 0;
  std::string error;  // in Go's words: "exit status 1"; empty: it ended with 0
};

// `env_before` stands before this program's own variables, which win over it; `env_after` wins over them. Waits for the end.
ChildEnd run_child(const std::vector<std::string>& words, const std::vector<std::string>& env_before,
                   const std::vector<std::string>& env_after);

}  // namespace quoin::ctl
