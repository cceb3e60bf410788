// Numbers in arguments, as Go's strconv reads them with a base of its own: no prefixes, no underscores.
//
// Errors: strconv's words, "strconv.ParseInt: parsing \"x\": invalid syntax".
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace quoin::ctl {

tl::expected<int64_t, std::string> parse_int(std::string_view text, int base);
tl::expected<uint64_t, std::string> parse_uint(std::string_view text, int base);

}  // namespace quoin::ctl
