#include "tls/record_scan.h"

#include <fmt/format.h>

#include <algorithm>

#include "tls/error_text.h"

namespace quoin::tls {
namespace {
constexpr uint8_t kAlert = 21, kHandshake = 22;
constexpr uint8_t kFatal = 2, kCloseNotify = 0;
constexpr uint8_t kSslV2 = 0x80;
constexpr uint8_t kRecordOverflow = 22, kProtocolVersion = 70, kInternalError = 80;
constexpr size_t kCiphertextMax = 16384 + 2048;
constexpr size_t kHandshakeMax = 65536;
}  // namespace

bool RecordScan::look_at_header() {
  const uint8_t type = header_[0];
  const unsigned version = static_cast<unsigned>(header_[1]) << 8 | header_[2];
  const size_t length = static_cast<size_t>(header_[3]) << 8 | header_[4];
  size_ = kHeader + length;
  if (length > kCiphertextMax)
    oversized_ = fmt::format("tls: oversized record received with length {}", length);
  if (!first_) return true;
  if (type == kSslV2) {
    error_ = "tls: unsupported SSLv2 handshake received";
    alert_ = kProtocolVersion;
  } else if ((type != kAlert && type != kHandshake) || version >= 0x1000) {
    error_ = "tls: first record does not look like a TLS handshake";
  } else if (!oversized_.empty()) {
    error_ = oversized_;
    alert_ = kRecordOverflow;
  }
  return error_.empty();
}

bool RecordScan::feed(std::string_view bytes) {
  if (!error_.empty()) return false;
  while (!bytes.empty()) {
    if (have_ < kHeader) {
      header_[have_++] = static_cast<uint8_t>(bytes.front());
      bytes.remove_prefix(1);
      if (have_ == kHeader && !look_at_header()) return false;
    } else if (first_ && header_[0] == kAlert && size_ == kHeader + 2) {
      message_[have_++ - kHeader] = static_cast<uint8_t>(bytes.front());
      bytes.remove_prefix(1);
      // OpenSSL takes no alert as the first record, and would answer with one of its own.
      if (have_ == size_ && (message_[0] == kFatal || message_[1] == kCloseNotify)) {
        error_ = message_[1] == kCloseNotify ? "EOF" : "remote error: " + alert_text(message_[1]);
        return false;
      }
    } else if (first_ && header_[0] == kHandshake && have_ < kHeader + sizeof message_ && have_ < size_) {
      // The head of the first message: a type, and a length of three bytes.
      message_[have_++ - kHeader] = static_cast<uint8_t>(bytes.front());
      bytes.remove_prefix(1);
      if (have_ == kHeader + sizeof message_) {
        const size_t length =
            static_cast<size_t>(message_[1]) << 16 | static_cast<size_t>(message_[2]) << 8 | message_[3];
        if (length > kHandshakeMax) {
          error_ = fmt::format("tls: handshake message of length {} bytes exceeds maximum of {} bytes",
                               length, kHandshakeMax);
          alert_ = kInternalError;
          return false;
        }
      }
    } else {
      const size_t n = std::min(bytes.size(), size_ - have_);
      have_ += n;
      bytes.remove_prefix(n);
    }
    if (have_ >= kHeader && have_ == size_) {
      have_ = 0;
      first_ = false;
    }
  }
  return true;
}

}  // namespace quoin::tls
