// A file that is read whole at the start: configuration, keys.
//
// Threads: any; blocks. Errors: Go's texts ("open x: no such file or directory"); a file of more than kSmallFileMax
// bytes is refused, since a device gives bytes for ever.
#pragma once
#include <string>

#include "base/result.h"

namespace quoin::cmd {

constexpr size_t kSmallFileMax = 16 << 20;

Result<std::string> read_small_file(const std::string& path);

}  // namespace quoin::cmd
