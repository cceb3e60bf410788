// Base64 as Go's encoding/base64 reads and writes it: the standard alphabet with padding (StdEncoding), and the
// URL alphabet without (RawURLEncoding). Line breaks are passed over where Go passes over them, and the unused
// bits of a last character may be anything.
// Threads: none of this keeps state.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace quoin::auth {

std::string base64_encode(std::string_view bytes);
std::optional<std::string> base64_decode(std::string_view text);
std::string base64url_encode(std::string_view bytes);
std::optional<std::string> base64url_decode(std::string_view text);

}  // namespace quoin::auth
