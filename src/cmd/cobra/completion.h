// Completion of a command line by the shell: what the program answers to "__complete WORDS...", and the scripts that have
// the shells ask it.
//
// The answer is cobra's, so that scripts made by other versions work with it: a candidate a line, with its description
// behind a tab, then ":N", where bit 2 of N says that no file names are wanted. The scripts are Quoin's own.
//
// Threads: none. Source: github.com/spf13/cobra 1.10.2 (getCompletions).
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/cobra/command.h"

namespace quoin::cmd {

// Nothing: the line does not ask for it. Use it before CobraCommand::read(), and not both.
std::optional<CobraOutcome> complete(CobraCommand& root, const std::vector<std::string>& words);

// For bash, zsh, fish or powershell; empty for others.
std::string completion_script(std::string_view shell, std::string_view program);

}  // namespace quoin::cmd
