// One TLS connection without a socket, in either role: bytes of the wire in and out, plaintext in and out.
//
//   feed() ► [ handshake: while wants_step() step() ] ► read() plaintext
//   write() plaintext ► take_output() bytes of the wire
// take_output() has something after any of feed_eof(), step(), read(), write(), close(); it also holds the
// alert of a session that failed.
//
// Threads: confined; one call at a time. A step() of the handshake signs, agrees on keys and checks
// signatures, which takes from 0.1 ms (P-256) to several ms (RSA 4096; what a client may present): it may,
// and in a server should, run on a thread that is not a loop. Nothing else may be called meanwhile. After the
// handshake no call computes anything asymmetric.
// Ownership: keeps the credentials it began with. Views last for the call.
// Bounds: bytes fed and not yet used are the caller's choice: it feeds only while nothing waits
// (input_bytes()). A handshake may have kHandshakeBytesMax bytes in all; its messages 64 KiB (certificates
// 256 KiB), as in Go. At most 16 messages without application data between them after the handshake; no
// renegotiation. read() gives at most one record (16 KiB) a call. Output is what the caller wrote plus at
// most 70 bytes a record, and small answers; take it after each call.
// Errors: error() after a failure, kIo, with Go's text: "EOF", "unexpected EOF", "remote error: tls: bad
// certificate",
//   "tls: client didn't provide a certificate", "tls: failed to verify certificate: x509: ..."; the list is
//   in spec operations 4.2. A failed session does nothing any more.
// Source: Go's crypto/tls; spec operations 3.2, 4.2.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tls/credentials.h"
#include "tls/identity.h"

namespace quoin::tls {

// All handshake bytes of a connection: the largest certificate message and everything else, several times
// over.
constexpr size_t kHandshakeBytesMax = 512 << 10;
constexpr size_t kRecordBytesMax = 16 << 10;

struct SessionOptions {
  // The client role: the host dialled. Counts if the credentials name no server.
  std::string host;
  // The client role: protocols to offer, in order of preference. etcd's peers offer none.
  std::vector<std::string> alpn;
};

class Session {
 public:
  enum class State : uint8_t { kHandshake, kOpen, kFailed };

  Session(std::shared_ptr<const Credentials> credentials, const SessionOptions& options);
  ~Session();
  Session(const Session&) = delete;

  State state() const;
  // Set in kFailed.
  const std::optional<Error>& error() const;

  // Takes bytes of the wire. They are looked at by the next step() or read().
  void feed(std::string_view bytes);
  // The other side sends no more.
  void feed_eof();
  // Fed and not used yet.
  size_t input_bytes() const;

  // The handshake has work to do: the client's first step, or bytes came.
  bool wants_step() const;
  void step();
  // From the end of the handshake on, also for one that failed, then with what was known: the names in a
  // certificate only if its chain was good.
  const Identity& identity() const;
  // Forgets identity(), which nobody needs twice.
  Identity take_identity();

  // Decrypts up to one record into `into` (of kRecordBytesMax bytes to be sure to get a whole one) and
  // returns its number of bytes. 0: nothing more for now, or at_end(), or failed.
  size_t read(std::span<char> into);
  // Everything the other side sent was read, and it said that no more comes: close_notify, or the end of the
  // stream between two records, which Go takes as well.
  bool at_end() const;

  // Encrypts. Only in kOpen and before close().
  void write(std::string_view plaintext);
  // Says close_notify. Reading goes on. Nothing happens twice.
  void close();

  bool has_output() const;
  std::string take_output();

  struct Core;

 private:
  std::unique_ptr<Core> core_;
};

}  // namespace quoin::tls
