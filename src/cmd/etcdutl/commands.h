// etcdutl's commands: the tree with its flags and texts, and what each of them does.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "cmd/cobra/command.h"
#include "cmd/etcdutl/terminal.h"

namespace quoin::utl {

// The tree for help, completion and man pages.
std::unique_ptr<cmd::CobraCommand> make_commands();

// Reads the words behind the program's name, does what they say, and returns the exit code.
int run_etcdutl(const std::vector<std::string>& words);

}  // namespace quoin::utl
