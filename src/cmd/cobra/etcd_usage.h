// The usage text of etcd's own tools, which stands in for cobra's: NAME, USAGE, VERSION, COMMANDS, OPTIONS.
//
// Threads: none. Source: etcd's pkg/cobrautl/help.go; text/tabwriter of Go for the columns.
#pragma once
#include <string>
#include <string_view>

#include "cmd/cobra/command.h"

namespace quoin::cmd {

std::string etcd_usage(const CobraCommand& command, std::string_view version, std::string_view api_version);

// Columns of lines whose cells end in tabs: each column is as wide as its widest cell and one more, in stops of eight.
// A column ends at the first line that has no cell in it.
std::string tabbed_columns(std::string_view text);

}  // namespace quoin::cmd
