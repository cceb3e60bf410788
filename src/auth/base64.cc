#include "auth/base64.h"

#include <array>
#include <cstdint>

namespace quoin::auth {
namespace {

constexpr std::string_view kStandard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kUrl = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

constexpr std::array<int8_t, 256> reverse(std::string_view alphabet) {
  std::array<int8_t, 256> out{};
  for (auto& v : out) v = -1;
  for (size_t i = 0; i < alphabet.size(); ++i) {
    out[static_cast<unsigned char>(alphabet[i])] = static_cast<int8_t>(i);
  }
  return out;
}
constexpr auto kStandardValues = reverse(kStandard);
constexpr auto kUrlValues = reverse(kUrl);

std::string encode(std::string_view bytes, std::string_view alphabet, bool padded) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  uint32_t bits = 0;
  int have = 0;
  for (const char c : bytes) {
    bits = (bits << 8) | static_cast<unsigned char>(c);
    for (have += 8; have >= 6; have -= 6) out.push_back(alphabet[(bits >> (have - 6)) & 63]);
  }
  if (have > 0) out.push_back(alphabet[(bits << (6 - have)) & 63]);
  while (padded && out.size() % 4 != 0) out.push_back('=');
  return out;
}

std::optional<std::string> decode(std::string_view text, const std::array<int8_t, 256>& values, bool padded) {
  std::string out;
  out.reserve(text.size() / 4 * 3 + 3);
  uint32_t bits = 0;
  int have = 0, characters = 0, padding = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r') continue;
    if (padded && c == '=') {
      ++padding;
      continue;
    }
    const int v = values[static_cast<unsigned char>(c)];
    if (v < 0 || padding > 0) return std::nullopt;
    bits = (bits << 6) | static_cast<uint32_t>(v);
    have += 6;
    if (have >= 8) {
      have -= 8;
      out.push_back(static_cast<char>(bits >> have));
    }
    characters = (characters + 1) % 4;
  }
  // A last group of one character holds no byte; of two or three, padding must make four.
  if (characters == 1) return std::nullopt;
  const int wanted = padded && characters != 0 ? 4 - characters : 0;
  if (padding != wanted) return std::nullopt;
  return out;
}

}  // namespace

std::string base64_encode(std::string_view bytes) {
  return encode(bytes, kStandard, true);
}
std::optional<std::string> base64_decode(std::string_view text) {
  return decode(text, kStandardValues, true);
}
std::string base64url_encode(std::string_view bytes) {
  return encode(bytes, kUrl, false);
}
std::optional<std::string> base64url_decode(std::string_view text) {
  return decode(text, kUrlValues, false);
}

}  // namespace quoin::auth
