// What went wrong in a TLS connection, in Go's words; etcd logs them and tools compare them.
//
// For the .cc files of this module alone.
// Source: Go's crypto/tls alert.go, conn.go, handshake_server*.go, handshake_client*.go.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "tls/hooks.h"

namespace quoin::tls {

// "tls: bad certificate"; "tls: alert(200)" for a number Go has no name for.
std::string alert_text(uint8_t alert);

// For the failed call that left its reason in OpenSSL's error queue, which is emptied. `oversized`: what the
// scan of the records said.
std::string failure_text(const SSL* ssl, const HookState& state, std::string_view oversized);

}  // namespace quoin::tls
