#include "server/peers.h"

#include <algorithm>

namespace quoin::server {

std::optional<std::string_view> PeerAnswer::field(std::string_view name) const {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  for (const auto& [key, value] : fields) {
    if (std::ranges::equal(key, name, {}, lower, lower)) return value;
  }
  return std::nullopt;
}

}  // namespace quoin::server
