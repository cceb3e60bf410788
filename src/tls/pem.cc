#include "tls/pem.h"

#include <cstdint>

namespace quoin::tls {
namespace {
constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kEnd = "-----END ";
constexpr std::string_view kDashes = "-----";
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Cuts the first line off `rest`, without its end and without blanks before it.
std::string_view take_line(std::string_view& rest) {
  const size_t end = rest.find('\n');
  std::string_view line = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  while (line.ends_with(' ') || line.ends_with('\t')) line.remove_suffix(1);
  return line;
}

int digit_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

// Standard base64 with its padding; line ends and blanks are skipped.
std::optional<std::string> decode_base64(std::string_view text) {
  std::string out;
  out.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  int digits = 0, padding = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r' || c == ' ' || c == '\t') continue;
    if (c == '=') {
      if (digits + padding < 2 || ++padding + digits > 4) return std::nullopt;
      continue;
    }
    const int value = digit_value(c);
    if (value < 0 || padding > 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    if (++digits == 4) {
      out += static_cast<char>(bits >> 16);
      out += static_cast<char>(bits >> 8);
      out += static_cast<char>(bits);
      bits = 0;
      digits = 0;
    }
  }
  if (digits == 0) return padding == 0 ? std::optional(std::move(out)) : std::nullopt;
  if (digits + padding != 4) return std::nullopt;
  bits <<= 6 * padding;
  out += static_cast<char>(bits >> 16);
  if (padding == 1) out += static_cast<char>(bits >> 8);
  return out;
}

// Cuts `rest` to what follows the next line that begins a block; false if there is none.
bool skip_to_begin(std::string_view& rest) {
  if (rest.starts_with(kBegin)) {
    rest.remove_prefix(kBegin.size());
    return true;
  }
  for (size_t at = rest.find(kBegin); at != std::string_view::npos; at = rest.find(kBegin, at + 1)) {
    if (rest[at - 1] != '\n') continue;
    rest.remove_prefix(at + kBegin.size());
    return true;
  }
  return false;
}
}  // namespace

std::optional<PemBlock> next_pem_block(std::string_view& rest) {
  while (skip_to_begin(rest)) {
    std::string_view type = take_line(rest);
    if (!type.ends_with(kDashes)) continue;
    type.remove_suffix(kDashes.size());
    // Headers: lines with a colon, before the text.
    std::string_view body = rest;
    for (std::string_view next = body; !next.empty(); body = next) {
      if (take_line(next).find(':') == std::string_view::npos) break;
    }
    size_t end = 0;
    if (!body.starts_with(kEnd)) {
      end = body.find(kEnd);
      while (end != std::string_view::npos && body[end - 1] != '\n') end = body.find(kEnd, end + 1);
      if (end == std::string_view::npos) continue;
    }
    std::string_view after = body.substr(end + kEnd.size());
    const std::string_view last = take_line(after);
    if (last.size() != type.size() + kDashes.size() || !last.starts_with(type) || !last.ends_with(kDashes))
      continue;
    auto bytes = decode_base64(body.substr(0, end));
    if (!bytes) continue;
    PemBlock block{std::string(type), std::move(*bytes)};
    rest = after;
    return block;
  }
  return std::nullopt;
}

std::string pem_text(std::string_view type, std::string_view bytes) {
  std::string text;
  text.append(kBegin).append(type).append(kDashes).append("\n");
  size_t column = 0;
  const auto put = [&](char c) {
    text += c;
    if (++column == 64) {
      text += '\n';
      column = 0;
    }
  };
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t have = std::min<size_t>(3, bytes.size() - i);
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < have ? static_cast<uint8_t>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) put(k <= have ? kAlphabet[bits >> (18 - 6 * k) & 63] : '=');
  }
  if (column != 0) text += '\n';
  text.append(kEnd).append(type).append(kDashes).append("\n");
  return text;
}

}  // namespace quoin::tls
