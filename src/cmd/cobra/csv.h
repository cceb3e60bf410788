// One line of comma separated values as Go's encoding/csv reads and writes it.
//
// Threads: none. Errors: kInvalidArgument with Go's words.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quoin::cmd {

// The first line of `text` that is not empty, in fields as encoding/csv splits them; none of an empty text.
// Errors: "parse error on line 1, column 2: bare \" in non-quoted-field", "EOF", ...
Result<std::vector<std::string>> read_csv_line(std::string_view text);
std::string csv_line(const std::vector<std::string>& fields);

}  // namespace quoin::cmd
