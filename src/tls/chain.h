// Whether the certificates that the other side presented are good, decided as Go's crypto/x509 decides it and
// worded in its words. OpenSSL builds the chain and checks signatures, times, path lengths and name
// constraints; what Go asks beside that, or asks in another order, is here.
//
// Pure but for OpenSSL's error queue of the thread. A call takes the time of a signature check for each
// certificate of the chain (up to some milliseconds): never on a loop.
// Source: Go's crypto/x509 verify.go (Verify, isValid, checkChainForKeyUsage, UnknownAuthorityError) and
// crypto/tls handshake_server.go (processCertsFromClient), handshake_client.go (verifyServerCertificate).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "io/clock.h"
#include "tls/options.h"

struct x509_store_ctx_st;

namespace quoin::tls {

// A key of more bits costs too much to check; Go's bound for either side's certificates.
constexpr int kRsaBitsMax = 8192;

struct ChainFailure {
  std::string text;  // "tls: failed to verify certificate: x509: ..."
  // The alert that Go's server sends: 42 bad_certificate, 45 certificate_expired, 48 unknown_ca. Its client
  // always sends 42.
  uint8_t alert;
};

// `ctx` holds the presented certificates and the trust anchors. `host` (the client role): what the leaf must
// be for. Afterwards `ctx` holds the chain that was built.
std::optional<ChainFailure> verify_chain(x509_store_ctx_st* ctx, Role role, std::string_view host,
                                         io::WallNs now);

// A time as Go's time.RFC3339: "2026-01-02T15:04:05Z". `local`: in the zone of the process, as Go prints the
// current time.
std::string rfc3339(int64_t seconds, bool local);

}  // namespace quoin::tls
