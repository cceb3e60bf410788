// What OpenSSL asks us during a handshake: versions offered, ALPN, whether the pair is there, whether the
// other side's certificates are good, how tickets are sealed. And what it tells us: messages and alerts, from
// which errors get Go's texts and floods are noticed.
//
// For the .cc files of this module alone. Called on the thread that drives the SSL object.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "tls/identity.h"
#include "tls/ossl.h"

namespace quoin::tls {

class Credentials;

// Handshake messages after the handshake (key updates, tickets) without application data between them; Go's
// maxUselessRecords.
constexpr int kIdleMessagesMax = 16;
// Go's maxHandshake.
constexpr size_t kHandshakeMessageMax = 64 << 10;

// Of one SSL object, which points to it (SSL_set_app_data).
struct HookState {
  const Credentials* credentials = nullptr;
  Role role = Role::kServer;
  std::string host;  // client role: what the server's certificate must be for; empty: anything

  std::string failure;  // Go's text for what a hook refused
  // The certificate that was verified, also if a later check refuses it.
  std::optional<CertificateNames> peer;
  std::vector<std::string> serials;
  // The time in which all certificates of the verified chain are valid; seconds since 1970.
  int64_t valid_from = INT64_MIN, valid_to = INT64_MAX;
  std::string server_name;              // SNI
  std::vector<uint16_t> client_suites;  // as offered
  uint16_t server_hello_version = 0;
  uint8_t alert_sent = 0, alert_received = 0;  // 0: none (or close_notify)
  bool established = false;
  int idle_messages = 0;

  // Nothing more should be read: `failure` says why.
  bool stop() const { return !failure.empty(); }
};

void install_hooks(SSL_CTX* ctx, Role role);

}  // namespace quoin::tls
