// Protobuf's bytes, low level: varints, tags and length-delimited heads, written forwards and backwards.
//
// Generated encoders write backwards, from the end of an exactly sized buffer: the length of a sub-message is
// known once its bytes stand, so nested messages cost one pass for the size and one for the bytes, however
// deep. The forward functions are for parts put together by hand, such as the head of an answer whose tail is
// shared. Every writer writes exactly as many bytes as the matching size function says. The caller makes sure
// that there is room.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/coding.h"

namespace quoin::wire {

enum class WireType : uint8_t {
  kVarint = 0,
  kFixed64 = 1,
  kLengthDelimited = 2,
  kStartGroup = 3,
  kEndGroup = 4,
  kFixed32 = 5,
};

inline constexpr size_t kVarintBytesMax = 10;

constexpr uint64_t tag(uint32_t field, WireType type) {
  return static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(type);
}
constexpr size_t varint_size(uint64_t v) {
  return (static_cast<size_t>(std::bit_width(v | 1)) + 6) / 7;
}
constexpr size_t tag_size(uint32_t field) {
  return varint_size(static_cast<uint64_t>(field) << 3);
}
// Of a length-delimited field with `length` bytes inside: tag, length and the bytes.
constexpr size_t length_delimited_size(uint32_t field, size_t length) {
  return tag_size(field) + varint_size(length) + length;
}

// ---- forwards; each returns where the next byte goes ----

inline char* put_varint(char* out, uint64_t v) {
  if (v >> 56 != 0) {
    // Ids fill nine or ten bytes: the lowest 56 bits are spread over eight at once.
    uint64_t low = v & 0x00ff'ffff'ffff'ffff;
    low = (low & 0x0000'0000'0fff'ffff) | (low & 0x00ff'ffff'f000'0000) << 4;
    low = (low & 0x0000'3fff'0000'3fff) | (low & 0x0fff'c000'0fff'c000) << 2;
    low = (low & 0x007f'007f'007f'007f) | (low & 0x3f80'3f80'3f80'3f80) << 1;
    store_le<uint64_t>(out, low | 0x8080'8080'8080'8080);
    out += 8;
    v >>= 56;
  }
  while (v >= 0x80) {
    *out++ = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  *out++ = static_cast<char>(v);
  return out;
}
inline char* put_bytes(char* out, std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
  return out + bytes.size();
}
// Tag and value; the caller decides whether a zero is written.
inline char* put_varint_field(char* out, uint32_t field, uint64_t v) {
  return put_varint(put_varint(out, tag(field, WireType::kVarint)), v);
}
// Tag and length; `length` bytes must follow.
inline char* put_length_delimited_head(char* out, uint32_t field, size_t length) {
  return put_varint(put_varint(out, tag(field, WireType::kLengthDelimited)), length);
}
inline char* put_bytes_field(char* out, uint32_t field, std::string_view bytes) {
  return put_bytes(put_length_delimited_head(out, field, bytes.size()), bytes);
}

// ---- backwards; each fills up to `end` (exclusive) and returns the first byte written ----

inline char* put_varint_back(char* end, uint64_t v) {
  if (v < 0x80) {
    *--end = static_cast<char>(v);
    return end;
  }
  char* start = end - varint_size(v);
  put_varint(start, v);
  return start;
}
inline char* put_bytes_back(char* end, std::string_view bytes) {
  end -= bytes.size();
  if (!bytes.empty()) std::memcpy(end, bytes.data(), bytes.size());
  return end;
}
inline char* put_varint_field_back(char* end, uint32_t field, uint64_t v) {
  return put_varint_back(put_varint_back(end, v), tag(field, WireType::kVarint));
}
// The `length` bytes from `end` on are in place already.
inline char* put_length_delimited_head_back(char* end, uint32_t field, size_t length) {
  return put_varint_back(put_varint_back(end, length), tag(field, WireType::kLengthDelimited));
}
inline char* put_bytes_field_back(char* end, uint32_t field, std::string_view bytes) {
  return put_length_delimited_head_back(put_bytes_back(end, bytes), field, bytes.size());
}

// ---- reading ----

enum class VarintStatus : uint8_t { kOk, kTruncated, kOverflow };

// Reads at most ten bytes and moves *p past them. As Go does: the tenth byte's upper bits fall off silently,
// a tenth byte with its continuation bit set is an overflow (even where the input ends with it), an earlier
// end is a truncation.
inline VarintStatus get_varint(const char** p, const char* end, uint64_t* v) {
  const char* at = *p;
  if (at != end && static_cast<signed char>(*at) >= 0) [[likely]] {
    *v = static_cast<uint8_t>(*at);
    *p = at + 1;
    return VarintStatus::kOk;
  }
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (at == end) return VarintStatus::kTruncated;
    const auto b = static_cast<uint8_t>(*at++);
    value |= static_cast<uint64_t>(b & 0x7f) << shift;
    if (b < 0x80) {
      *v = value;
      *p = at;
      return VarintStatus::kOk;
    }
  }
  return VarintStatus::kOverflow;
}

}  // namespace quoin::wire
