// What a handshake needs: a certificate with its key, the certificates to trust, the revocation list, and
// OpenSSL's context made of them. Immutable and shared: a session keeps the ones it began with.
//
// Threads: any thread, once made. Making them reads files and parses keys (milliseconds): at start, or on an
// executor that may block, never on a loop.
// Errors of load(), as etcd words them:
//   kInvalidArgument  "KeyFile and CertFile must both be present[key: , cert: x]",
//                     "AllowedCNs and AllowedHostnames are mutually exclusive (cns=[..], hostnames=[..])"
//   kFileNotFound, kIo  "open x: no such file or directory"
//   kMalformed        "tls: private key does not match public key", "tls: failed to find any PEM data in key
//   input", ...
// Bounds: a file may have kFileBytesMax bytes.
//
// What etcd does at each handshake is done at each change of a file here (tls/keeper.h):
//   - a pair that cannot be loaded any more fails handshakes with its error, not the server;
//   - the revocation list may be missing or damaged: connections that present a certificate fail with that
//     error;
//   - trusted certificates are read once by etcd; here they follow their file, and one that cannot be read or
//     parsed leaves the last good ones in force.
//
// The context, where OpenSSL lets us follow Go 1.26: TLS 1.2 and 1.3 (TLS 1.2 at least); Go's suites in its
// order, the server's order counts; X25519, P-256, P-384, P-521 (OpenSSL 3.0 has none of Go's post-quantum
// groups); signature algorithms of Go, RSA keys of 1024 bits at least, no SHA-1 in chains; no compression, no
// renegotiation; a server offers ALPN h2 alone, takes a client that offers http/1.1 without ALPN, and refuses
// other offers; one session ticket a handshake, none in the client role, which never resumes, as etcd's
// clients. A resumed session carries the serials and the end of validity of the certificates that were
// verified: both are looked at again. Tickets of other trusted certificates or allow lists are ignored.
// Source: spec operations 3.2, 4; raft-and-peers 24; etcd's client/pkg/transport/listener.go,
// client/pkg/tlsutil; Go's crypto/tls (X509KeyPair, defaults.go, cipher_suites.go).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/clock.h"
#include "io/file.h"
#include "tls/options.h"
#include "tls/ticket_keys.h"
#include "tls/verify.h"

struct ssl_ctx_st;

namespace quoin::tls {

constexpr uint64_t kFileBytesMax = 16 << 20;

// What stood in the files of `options` at one moment; compared to find changes. A file that is not named is
// empty.
struct FileContents {
  using Content = std::optional<Result<std::string>>;
  Content cert, key, client_cert, client_key, trusted_ca, crl;

  static FileContents read(const Options& options, io::FileSystem& files);
  // The same bytes, and the same errors.
  bool same_as(const FileContents& other) const;
};

class Credentials {
 public:
  // Reads and checks everything; what cannot be used is an error, but for the revocation list.
  // `tickets` (the server role): with what session tickets are sealed; none: no tickets. `clock` must outlive
  // the credentials.
  static Result<std::shared_ptr<const Credentials>> load(const Options& options, Role role,
                                                         io::FileSystem& files, const io::Clock& clock,
                                                         std::shared_ptr<TicketKeys> tickets);
  // From contents that changed while the program runs: always gives credentials, if need be such that fail
  // handshakes, with what `previous` trusts. `previous` was loaded with the same options.
  static std::shared_ptr<const Credentials> renew(const Credentials& previous, const FileContents& contents);

  ~Credentials();
  Credentials(const Credentials&) = delete;

  const Options& options() const { return options_; }
  Role role() const { return role_; }
  const io::Clock& clock() const { return *clock_; }
  // Why handshakes that need the pair fail.
  const std::optional<Error>& pair_error() const { return pair_error_; }
  // Why the trusted certificates are those of an earlier moment.
  const std::optional<Error>& trust_error() const { return trust_error_; }
  // Seconds since 1970 when the certificate shown ends; nothing if there is none.
  std::optional<int64_t> not_after() const { return not_after_; }
  // The revocation list's verdict; its own error if it could not be read. ok without a list.
  Result<> check_revoked(const std::vector<std::string>& serials) const;
  // Of the server role; may be null.
  TicketKeys* tickets() const { return tickets_.get(); }
  ssl_ctx_st* context() const { return context_; }

 private:
  struct Trust;
  Credentials(const Options& options, Role role, const io::Clock& clock, std::shared_ptr<TicketKeys> tickets);
  // Everything but the context's own errors is kept in members.
  Result<> build(const FileContents& contents, std::shared_ptr<const Trust> trust);
  static Result<std::shared_ptr<const Trust>> parse_trust(const FileContents& contents);
  static Result<std::shared_ptr<const Trust>> system_trust(const Options& options, io::FileSystem& files);

  const Options options_;
  const Role role_;
  const io::Clock* const clock_;
  const std::shared_ptr<TicketKeys> tickets_;
  std::shared_ptr<const Trust> trust_;
  std::optional<Error> pair_error_, trust_error_;
  std::optional<int64_t> not_after_;
  std::optional<Result<RevocationList>> crl_;
  ssl_ctx_st* context_ = nullptr;
};

}  // namespace quoin::tls
