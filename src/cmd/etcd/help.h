// What --help prints.
#pragma once
#include <string>

namespace quoin::cmd {

// Standard error: how to call the program.
std::string usage_text();
// Standard output: every option by section.
std::string options_text();

}  // namespace quoin::cmd
