#include "httpapi/gateway/base64.h"

#include <array>

namespace quoin::httpapi::gateway {
namespace {

constexpr std::string_view kStandard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<int8_t, 256> table(std::string_view last_two) {
  std::array<int8_t, 256> t{};
  for (auto& v : t) v = -1;
  for (size_t i = 0; i < 62; ++i) t[static_cast<unsigned char>(kStandard[i])] = static_cast<int8_t>(i);
  t[static_cast<unsigned char>(last_two[0])] = 62;
  t[static_cast<unsigned char>(last_two[1])] = 63;
  return t;
}
constexpr auto kStandardTable = table("+/");
constexpr auto kUrlTable = table("-_");

}  // namespace

Base64Decoder::Base64Decoder(bool url_alphabet, bool padded)
    : table_(url_alphabet ? kUrlTable.data() : kStandardTable.data()), padded_(padded) {}

bool Base64Decoder::feed(std::string_view chars, std::string& out) {
  const auto value = [this](char c) { return static_cast<int32_t>(table_[static_cast<unsigned char>(c)]); };
  const size_t old = out.size();
  out.resize(old + chars.size() / 4 * 3 + 3);
  char* p = out.data() + old;
  bool good = true;
  for (size_t i = 0; i < chars.size();) {
    if (sextets_ == 0 && tail_ == Tail::kNone) {
      while (i + 4 <= chars.size()) {
        const int32_t v = value(chars[i]) << 18 | value(chars[i + 1]) << 12 | value(chars[i + 2]) << 6 |
                          value(chars[i + 3]);
        if (v < 0) break;  // one of them is negative
        *p++ = static_cast<char>(v >> 16);
        *p++ = static_cast<char>(v >> 8);
        *p++ = static_cast<char>(v);
        i += 4;
      }
      if (i == chars.size()) break;
    }
    const char c = chars[i++];
    if (c == '\n' || c == '\r') continue;
    const int32_t v = tail_ == Tail::kNone ? value(c) : -1;
    if (v >= 0) {
      bits_ = bits_ << 6 | static_cast<uint32_t>(v);
      if (++sextets_ < 4) continue;
      *p++ = static_cast<char>(bits_ >> 16);
      *p++ = static_cast<char>(bits_ >> 8);
      *p++ = static_cast<char>(bits_);
      sextets_ = 0;
      bits_ = 0;
      continue;
    }
    if (c != '=' || !padded_ || tail_ == Tail::kDone) {
      good = false;
      break;
    }
    if (tail_ == Tail::kOneMore) {
      tail_ = Tail::kDone;
      continue;
    }
    if (sextets_ < 2) {
      good = false;
      break;
    }
    *p++ = static_cast<char>(sextets_ == 2 ? bits_ >> 4 : bits_ >> 10);
    if (sextets_ == 3) *p++ = static_cast<char>(bits_ >> 2);
    tail_ = sextets_ == 2 ? Tail::kOneMore : Tail::kDone;
    sextets_ = 0;
    bits_ = 0;
  }
  out.resize(static_cast<size_t>(p - out.data()));
  return good;
}

bool Base64Decoder::end(std::string& out) {
  if (tail_ != Tail::kNone) return tail_ == Tail::kDone;
  if (sextets_ == 0) return true;
  if (padded_ || sextets_ == 1) return false;
  out += static_cast<char>(sextets_ == 2 ? bits_ >> 4 : bits_ >> 10);
  if (sextets_ == 3) out += static_cast<char>(bits_ >> 2);
  return true;
}

void Base64Encoder::feed(std::string_view bytes, std::string& out) {
  const auto put = [&out](unsigned char a, unsigned char b, unsigned char c) {
    const char quantum[4] = {kStandard[a >> 2], kStandard[(a & 3) << 4 | b >> 4],
                             kStandard[(b & 15) << 2 | c >> 6], kStandard[c & 63]};
    out.append(quantum, 4);
  };
  const auto at = [&bytes](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  while (kept_ > 0 && kept_ < 3 && !bytes.empty()) {
    rest_[kept_++] = at(0);
    bytes.remove_prefix(1);
  }
  if (kept_ == 3) {
    put(rest_[0], rest_[1], rest_[2]);
    kept_ = 0;
  }
  if (kept_ > 0) return;
  size_t i = 0;
  const size_t old = out.size();
  const size_t quanta = bytes.size() / 3;
  out.resize(old + quanta * 4);
  char* p = out.data() + old;
  for (; i + 3 <= bytes.size(); i += 3) {
    const unsigned char a = at(i), b = at(i + 1), c = at(i + 2);
    *p++ = kStandard[a >> 2];
    *p++ = kStandard[(a & 3) << 4 | b >> 4];
    *p++ = kStandard[(b & 15) << 2 | c >> 6];
    *p++ = kStandard[c & 63];
  }
  while (i < bytes.size()) rest_[kept_++] = at(i++);
}

void Base64Encoder::end(std::string& out) {
  if (kept_ == 0) return;
  out += kStandard[rest_[0] >> 2];
  if (kept_ == 1) {
    out += kStandard[(rest_[0] & 3) << 4];
    out += "==";
  } else {
    out += kStandard[(rest_[0] & 3) << 4 | rest_[1] >> 4];
    out += kStandard[(rest_[1] & 15) << 2];
    out += '=';
  }
  kept_ = 0;
}

}  // namespace quoin::httpapi::gateway
