// HTTP/2 frames and header blocks by hand, for tests that send what no library sends.
#pragma once
#include <nghttp2/nghttp2.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"

namespace quoin::http2::test {

enum FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kRstStream = 3,
  kSettings = 4,
  kPing = 6,
  kWindowUpdate = 8,
  kContinuation = 9
};
constexpr uint8_t kEndStream = 1, kEndHeaders = 4, kPadded = 8, kPriorityFlag = 32;

inline std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string f;
  const auto n = static_cast<uint32_t>(payload.size());
  for (const uint32_t b : {n >> 16, n >> 8, n, uint32_t{type}, uint32_t{flags}, stream >> 24, stream >> 16,
                           stream >> 8, stream}) {
    f += static_cast<char>(b);
  }
  return f.append(payload);
}
inline std::string preface() {
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(kSettings, 0, 0, "");
}
inline std::string rst_stream(uint32_t stream, uint8_t code) {
  return frame(kRstStream, 0, stream, std::string{'\0', '\0', '\0', static_cast<char>(code)});
}

using Fields = std::vector<std::pair<std::string, std::string>>;

// A client's side of the compression: each block depends on those before it.
class Encoder {
 public:
  Encoder() { CHECK_EQ(nghttp2_hd_deflate_new(&deflater_, 4096), 0); }
  ~Encoder() { nghttp2_hd_deflate_del(deflater_); }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  std::string block(const Fields& fields) {
    std::vector<nghttp2_nv> nva;
    for (const auto& [name, value] : fields) {
      nva.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                     reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                     NGHTTP2_NV_FLAG_NONE});
    }
    std::string out(nghttp2_hd_deflate_bound(deflater_, nva.data(), nva.size()), '\0');
    const ssize_t n = nghttp2_hd_deflate_hd(deflater_, reinterpret_cast<uint8_t*>(out.data()), out.size(),
                                            nva.data(), nva.size());
    CHECK_GE(n, 0);
    out.resize(static_cast<size_t>(n));
    return out;
  }

 private:
  nghttp2_hd_deflater* deflater_ = nullptr;
};

// A block that depends on no other and changes no table.
inline std::string literals(const Fields& fields) {
  std::string out;
  const auto put = [&out](std::string_view s) {
    size_t n = s.size();
    if (n < 127) {
      out += static_cast<char>(n);
    } else {
      out += '\x7f';
      for (n -= 127; n >= 128; n >>= 7) out += static_cast<char>(n | 128);
      out += static_cast<char>(n);
    }
    out += s;
  };
  for (const auto& [name, value] : fields) {
    out += '\0';
    put(name);
    put(value);
  }
  return out;
}

// The header fields in a server's output, by stream; blocks in one frame.
class Decoder {
 public:
  Decoder() { CHECK_EQ(nghttp2_hd_inflate_new(&inflater_), 0); }
  ~Decoder() { nghttp2_hd_inflate_del(inflater_); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  void feed(std::string_view bytes) {
    while (bytes.size() >= 9) {
      const auto at = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])); };
      const size_t length = at(0) << 16 | at(1) << 8 | at(2);
      const uint32_t id = at(5) << 24 | at(6) << 16 | at(7) << 8 | at(8);
      if (at(3) == kHeaders) inflate(bytes.substr(9, length), fields[id]);
      if (at(3) == kData) data[id].append(bytes.substr(9, length));
      if (at(3) == kRstStream) resets[id] = at(12);
      bytes.remove_prefix(9 + length);
    }
  }
  std::map<uint32_t, std::map<std::string, std::string>> fields;
  std::map<uint32_t, std::string> data;
  std::map<uint32_t, uint32_t> resets;

 private:
  void inflate(std::string_view block, std::map<std::string, std::string>& into) {
    while (true) {
      nghttp2_nv nv;
      int flags = 0;
      const ssize_t n = nghttp2_hd_inflate_hd2(
          inflater_, &nv, &flags, reinterpret_cast<const uint8_t*>(block.data()), block.size(), 1);
      CHECK_GE(n, 0);
      block.remove_prefix(static_cast<size_t>(n));
      if (flags & NGHTTP2_HD_INFLATE_EMIT) {
        into[std::string(reinterpret_cast<char*>(nv.name), nv.namelen)] =
            std::string(reinterpret_cast<char*>(nv.value), nv.valuelen);
      }
      if (flags & NGHTTP2_HD_INFLATE_FINAL) break;
    }
    nghttp2_hd_inflate_end_headers(inflater_);
  }
  nghttp2_hd_inflater* inflater_ = nullptr;
};

// A block as a client sends it: one HEADERS frame and as many CONTINUATION frames as it takes.
inline std::string headers(uint32_t stream, std::string_view block, bool end_stream) {
  constexpr size_t kMax = 16'384;
  std::string out;
  uint8_t type = kHeaders;
  do {
    const std::string_view part = block.substr(0, kMax);
    block.remove_prefix(part.size());
    const int flags = (block.empty() ? kEndHeaders : 0) | (type == kHeaders && end_stream ? kEndStream : 0);
    out += frame(type, static_cast<uint8_t>(flags), stream, part);
    type = kContinuation;
  } while (!block.empty());
  return out;
}

}  // namespace quoin::http2::test
