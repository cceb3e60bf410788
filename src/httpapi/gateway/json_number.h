// Integers as protojson reads them: an exponent or a fraction may stand there as long as the number is whole.
// Pure; any thread.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace quoin::httpapi::gateway {

// Of the text of a number, or of a string that holds one. In a string Go looks at the first word alone: what
// stands behind it and no number could go on with ("1 x", "1}") changes nothing, but blanks around the whole
// are refused. Nothing: no number, not whole, or beyond the type.
std::optional<int64_t> json_int(std::string_view text, unsigned bits);
std::optional<uint64_t> json_uint(std::string_view text, unsigned bits);
// A text with blanks (Unicode's) at either end.
bool has_outer_space(std::string_view text);

}  // namespace quoin::httpapi::gateway
