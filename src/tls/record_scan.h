// Follows the records in the bytes that come in, without looking into them: is the first one TLS at all, and
// does the input end between two records.
//
// Pure; confined to its session.
// Source: Go's crypto/tls conn.go (readRecordOrCCS).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace quoin::tls {

class RecordScan {
 public:
  // Takes the bytes after those of the calls before. False once the first record is refused: then nothing of
  // it should reach OpenSSL, and error() says why.
  bool feed(std::string_view bytes);
  // "tls: first record does not look like a TLS handshake", "tls: unsupported SSLv2 handshake received",
  // "tls: handshake message of length n bytes exceeds maximum of 65536 bytes" (of the client's hello), "remote
  // error: tls: handshake failure" or "EOF" (it was an alert); empty: all well.
  const std::string& error() const { return error_; }
  // The alert that Go sends with that error; 0: none.
  uint8_t alert() const { return alert_; }
  // "tls: oversized record received with length n" for the last header that said too much; empty: none did.
  const std::string& oversized() const { return oversized_; }
  // Between two records.
  bool at_boundary() const { return have_ == 0; }
  // Enough of the first record has come to take it or refuse it: its header and the head of its message.
  // Before that OpenSSL should see nothing, so that how the bytes are cut does not show in the error.
  bool ready() const { return !first_ || have_ >= kHeader + sizeof message_; }

 private:
  static constexpr size_t kHeader = 5;
  bool look_at_header();

  bool first_ = true;
  uint8_t header_[kHeader] = {};
  size_t have_ = 0;  // bytes of the current record, header included
  size_t size_ = 0;  // of the current record, header included; known once the header is there
  uint8_t message_[4] = {};
  std::string error_, oversized_;
  uint8_t alert_ = 0;
};

}  // namespace quoin::tls
