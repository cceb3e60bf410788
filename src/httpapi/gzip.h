// Whole-buffer compression, for the metrics page and rotated logs.
#pragma once
#include <string>
#include <string_view>

namespace quoin::httpapi {

// A gzip member (RFC 1952) at zlib's default level.
std::string gzip(std::string_view data);
// A zstd frame at the fastest of the ordinary levels.
std::string zstd(std::string_view data);

}  // namespace quoin::httpapi
