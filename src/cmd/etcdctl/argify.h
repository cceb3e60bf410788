// Lines of txn and watch -i, as etcd splits and quotes them.
//
// Threads: none. Source: etcdctl/ctlv3/command/util.go (Argify), txn_command.go (ParseCompare); Go's strconv.Unquote and
// fmt.Sscanf.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/etcdctl/ending.h"

namespace quoin::ctl {

// Words: "in double quotes, with Go's escapes", 'in single ones, as they are', or runs without blanks that begin with no
// quote. A quote without its partner counts as nothing. Fails (3) where an escape is none.
Or<std::vector<std::string>> argify(std::string_view line);

// The value of a Go string in quotes, "..." or `...`; nothing if it is none.
std::optional<std::string> go_unquote(std::string_view quoted);

// Takes a Go string off the front of `text`, and blanks before it. Nothing: there is none, and `text` is unspecified.
std::optional<std::string> take_quoted(std::string_view& text);

bool is_blank(char c);

}  // namespace quoin::ctl
