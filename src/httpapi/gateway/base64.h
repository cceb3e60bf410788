// Base64 as Go reads and writes it, in pieces.
//
// Decoding: line breaks are skipped wherever they stand, bits left over are ignored, and the last quantum is
// padded, or not at all where padding is off. Encoding: the standard alphabet, padded.
// Threads: none of its own.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace quoin::httpapi::gateway {

class Base64Decoder {
 public:
  Base64Decoder() = default;
  Base64Decoder(bool url_alphabet, bool padded);
  // False: this is no base64.
  bool feed(std::string_view chars, std::string& out);
  bool end(std::string& out);

 private:
  const int8_t* table_ = nullptr;
  bool padded_ = false;
  enum class Tail : uint8_t { kNone, kOneMore, kDone } tail_ = Tail::kNone;
  unsigned sextets_ = 0;
  uint32_t bits_ = 0;
};

class Base64Encoder {
 public:
  void feed(std::string_view bytes, std::string& out);
  void end(std::string& out);

 private:
  unsigned kept_ = 0;
  unsigned char rest_[3] = {};
};

}  // namespace quoin::httpapi::gateway
