#include "httpapi/gateway/websocket_frames.h"

#include <openssl/sha.h>

#include <algorithm>

#include "base/utf8.h"
#include "httpapi/gateway/base64.h"

namespace quoin::httpapi::gateway {
namespace {
constexpr uint8_t kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10;
constexpr size_t kControlMax = 125;
constexpr uint16_t kNoCode = 1005;

uint8_t byte_at(std::string_view s, size_t i) {
  return static_cast<uint8_t>(s[i]);
}

bool valid_close_code(uint16_t code) {
  return (code >= 1000 && code <= 1013 && code != 1004 && code != 1005 && code != 1006) ||
         (code >= 3000 && code <= 4999);
}

// Of a frame of a server with n bytes of payload.
void append_head(std::string& out, WebSocketOpcode opcode, bool final, size_t n) {
  out += static_cast<char>((final ? 0x80 : 0) | static_cast<uint8_t>(opcode));
  if (n <= kControlMax) {
    out += static_cast<char>(n);
    return;
  }
  const unsigned bytes = n <= 0xffff ? 2 : 8;
  out += static_cast<char>(bytes == 2 ? 126 : 127);
  for (unsigned i = bytes; i-- > 0;) out += static_cast<char>(static_cast<uint64_t>(n) >> (8 * i));
}
}  // namespace

size_t WebSocketReader::head_length() const {
  if (head_.size() < 2) return 0;
  const uint8_t length = byte_at(head_, 1) & 0x7f;
  return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + 4;
}

void WebSocketReader::feed(std::string_view bytes, Handler& handler) {
  while (!ended_ && (!bytes.empty() || (in_frame_ && left_ == 0))) {
    if (!in_frame_) {
      head_ += bytes.front();
      bytes.remove_prefix(1);
      // Without a mask the head is shorter, which is a violation already.
      if (head_.size() == 2 && (byte_at(head_, 1) & 0x80) == 0)
        return violate(handler, "incorrect mask flag");
      if (head_.size() == head_length()) begin_frame(handler);
      continue;
    }
    constexpr size_t kPieceBytes = 4096;
    char piece[kPieceBytes];
    const size_t n = static_cast<size_t>(std::min<uint64_t>({left_, bytes.size(), kPieceBytes}));
    for (size_t i = 0; i < n; ++i) {
      piece[i] = static_cast<char>(byte_at(bytes, i) ^ mask_[mask_at_]);
      mask_at_ = (mask_at_ + 1) & 3;
    }
    bytes.remove_prefix(n);
    left_ -= n;
    if (opcode_ >= kClose) {
      control_.append(piece, n);
    } else if (n > 0) {
      handler.on_payload({piece, n});
    }
    if (left_ == 0) end_frame(handler);
  }
}

void WebSocketReader::begin_frame(Handler& handler) {
  const uint8_t first = byte_at(head_, 0);
  final_ = (first & 0x80) != 0;
  opcode_ = first & 0x0f;
  if ((first & 0x70) != 0) return violate(handler, "unexpected reserved bits");
  uint64_t length = byte_at(head_, 1) & 0x7f;
  const size_t mask = head_.size() - 4;
  if (mask > 2) {
    length = 0;
    for (size_t i = 2; i < mask; ++i) length = length << 8 | byte_at(head_, i);
  }
  if (opcode_ == kClose || opcode_ == kPing || opcode_ == kPong) {
    if (length > kControlMax) return violate(handler, "control frame length > 125");
    if (!final_) return violate(handler, "control frame not final");
    control_.clear();
  } else if (opcode_ == kText || opcode_ == kBinary) {
    if (in_message_) return violate(handler, "message start before final message frame");
    in_message_ = true;
  } else if (opcode_ == kContinuation) {
    if (!in_message_) return violate(handler, "continuation after final message frame");
  } else {
    return violate(handler, "unknown opcode");
  }
  if (length >> 63 != 0) return violate(handler, "negative frame length");
  for (size_t i = 0; i < 4; ++i) mask_[i] = byte_at(head_, mask + i);
  mask_at_ = 0;
  left_ = length;
  in_frame_ = true;
  head_.clear();
}

void WebSocketReader::end_frame(Handler& handler) {
  in_frame_ = false;
  if (opcode_ < kClose) {
    if (!final_) return;
    in_message_ = false;
    return handler.on_message_end();
  }
  if (opcode_ == kPing) return handler.on_ping(control_);
  if (opcode_ == kPong) return;
  uint16_t code = kNoCode;
  if (control_.size() >= 2) {
    code = static_cast<uint16_t>(byte_at(control_, 0) << 8 | byte_at(control_, 1));
    if (!valid_close_code(code)) return violate(handler, "invalid close code");
    if (!valid_utf8(std::string_view(control_).substr(2)))
      return violate(handler, "invalid utf8 payload in close frame");
  }
  ended_ = true;
  handler.on_close(code);
}

void WebSocketReader::violate(Handler& handler, std::string_view text) {
  ended_ = true;
  handler.on_violation(text);
}

void WebSocketLines::add(std::string_view text, std::string& out) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    add_part(text.substr(0, end), end != std::string_view::npos, out);
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

void WebSocketLines::end(std::string& out) {
  add_part({}, true, out);
}

void WebSocketLines::add_part(std::string_view part, bool last, std::string& out) {
  std::string_view lead;
  if (held_return_ && !part.empty()) lead = "\r";
  if (!part.empty() || last) held_return_ = false;
  if (part.ends_with('\r')) {
    part.remove_suffix(1);
    held_return_ = !last;
  }
  const size_t n = lead.size() + part.size();
  if (n == 0 && !(last && begun_)) return;
  append_head(out, begun_ ? WebSocketOpcode::kContinuation : WebSocketOpcode::kText, last, n);
  out.append(lead).append(part);
  begun_ = !last;
}

std::string websocket_frame(WebSocketOpcode opcode, std::string_view payload) {
  std::string out;
  append_head(out, opcode, /*final=*/true, payload.size());
  return out.append(payload);
}

std::string websocket_close_payload(uint16_t code, std::string_view text) {
  if (code == kNoCode) return {};
  std::string out = {static_cast<char>(code >> 8), static_cast<char>(code)};
  return out.append(text);
}

std::string websocket_accept(std::string_view key) {
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  Base64Encoder encoder;
  std::string out;
  encoder.feed({reinterpret_cast<const char*>(digest), sizeof digest}, out);
  encoder.end(out);
  return out;
}

}  // namespace quoin::httpapi::gateway
