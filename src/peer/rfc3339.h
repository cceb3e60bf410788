// Moments as Go's time.Time writes them in JSON: RFC 3339 with as much of a fraction as is needed.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "io/clock.h"

namespace quoin::peer {

// "2026-11-21T02:59:08.271550079Z": in UTC, the fraction without zeros at its end.
std::string rfc3339(io::WallNs at);
// Any zone. None for what is not such a text, or of a year outside 1970 to 2200.
std::optional<io::WallNs> parse_rfc3339(std::string_view text);

}  // namespace quoin::peer
