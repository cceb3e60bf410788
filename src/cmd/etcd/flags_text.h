// Go's ways with text that command lines and their error messages show: numbers, booleans,
// durations. Errors are Go's own words, since users and scripts see them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/go_text.h"
#include "base/result.h"

namespace quoin::cmd {

// strconv with base 0: 0x, 0o, 0b and 0 prefixes, underscores between digits. `bits`: 32 or 64.
// Errors: kInvalidArgument with "invalid syntax" or "value out of range".
Result<uint64_t> parse_unsigned(std::string_view s, int bits = 64);
Result<int64_t> parse_signed(std::string_view s, int bits = 64);
// 1 t T TRUE true True 0 f F FALSE false False; else "invalid syntax".
Result<bool> parse_bool(std::string_view s);
// "1h30m", "-1.5s", "0", "300ms". Errors as time.ParseDuration words them.
Result<int64_t> parse_duration(std::string_view s);

std::string_view trim_space(std::string_view s);
std::vector<std::string> split(std::string_view s, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);

}  // namespace quoin::cmd
