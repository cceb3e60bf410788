// Small pieces of the gRPC wire protocol: headers and texts as Go's gRPC server reads and writes them.
// Rules: spec api-semantics 1.1, 1.2. All pure; any thread.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error_table.h"
#include "base/result.h"

namespace quoin::grpc {

// A message's prefix: flag (1: compressed), length as four bytes, most significant first.
constexpr size_t kPrefixBytes = 5;
inline void store_prefix(char* p, bool compressed, uint32_t size) {
  p[0] = compressed ? 1 : 0;
  p[1] = static_cast<char>(size >> 24);
  p[2] = static_cast<char>(size >> 16);
  p[3] = static_cast<char>(size >> 8);
  p[4] = static_cast<char>(size);
}
inline uint32_t load_prefix_size(const char* p) {
  const auto b = [p](int i) { return static_cast<uint32_t>(static_cast<uint8_t>(p[i])); };
  return b(1) << 24 | b(2) << 16 | b(3) << 8 | b(4);
}

// The unit at the end of a grpc-timeout ('H', 'M', 'S', 'm', 'u', 'n') in ns; none for another letter.
std::optional<int64_t> timeout_unit_ns(char unit);
// grpc-timeout in ns, clamped to INT64_MAX; or the text behind "malformed grpc-timeout: ".
Result<int64_t> parse_timeout(std::string_view text);
// The largest unit that loses nothing and fits eight digits; rounds up where none fits.
std::string format_timeout(int64_t ns);

// Bytes outside [0x20, 0x7e] and '%' as %XX.
std::string encode_message(std::string_view text);
bool message_needs_encoding(std::string_view text);
// The reverse; malformed escapes stay as they are.
std::string decode_message(std::string_view text);

// The suffix of an accepted content type ("" of plain application/grpc), or nothing.
std::optional<std::string_view> content_subtype(std::string_view content_type);

// Offset of the first byte at which `text` stops being base64, padded or not, or nothing if it is all right.
std::optional<size_t> base64_error(std::string_view text);

// Decimal text of a status, valid for ever.
std::string_view status_digits(GrpcStatus status);

// Headers that belong to the protocol and are hidden from services.
bool is_reserved_header(std::string_view name);

}  // namespace quoin::grpc
